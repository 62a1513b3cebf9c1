//! What a device begins with is fetched once, and so is never fetched into nothing.

use crate::{
    ID, TIME,
    common::Folder,
    fleet,
    http::{Http, Reply},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

const ONE_TIME: &str = "e4i-0123456789abcdef";

fn server() -> Http {
    Http::start(|request, _| match &*request.path {
        "/v1/bundles" => {
            let form = request.json()["form"].clone();
            let content =
                if form == "state" { BASE64_STANDARD.encode(b"a state\0") } else { format!("id={ID}\nkey=71aa\n") };
            Reply::json(&json!({"id": ID, "name": "pump", "mode": "symmetric", "form": form, "content": content}))
        }
        "/v1/register" => Reply::json(&json!({"id": ID, "server_key": "85".repeat(32)})),
        _ => Reply::json(&json!({"token": ONE_TIME, "expires": TIME})),
    })
}

#[test]
fn a_state_file_is_written_for_its_owner_alone() {
    let folder = Folder::new();
    let http = server();
    let run = fleet(&folder, &http, &format!("devices bundle {ID} --out pump.state")).ok();
    assert_eq!(folder.read("pump.state"), "a state\0");
    #[cfg(unix)]
    assert_eq!(folder.mode("pump.state"), 0o600);
    assert!(!run.stdout().contains(ONE_TIME) && !run.stderr().contains(ONE_TIME));
    assert_eq!(http.lines(), [format!("POST /v1/devices/{ID}/bundle"), "POST /v1/bundles".to_owned()]);
    assert_eq!(http.asked()[1].json(), json!({"token": ONE_TIME, "form": "state"}));
}

#[test]
fn what_has_no_place_to_go_is_not_fetched() {
    let folder = Folder::new();
    folder.write("pump.state", "another");
    folder.write("invitation", ONE_TIME);
    let http = server();
    fleet(&folder, &http, &format!("devices bundle {ID} --out pump.state")).fails(1, "exists");
    fleet(&folder, &http, &format!("devices bundle {ID}")).fails(1, "say where it is to go");
    fleet(&folder, &http, "devices fetch --invitation invitation --out pump.state").fails(1, "exists");
    fleet(&folder, &http, &format!("devices bundle {ID} --qr --text")).fails(2, "cannot be used with");
    assert_eq!(http.lines(), [""; 0]);
    assert_eq!(folder.read("pump.state"), "another");
}

#[test]
fn an_invitation_is_shown_and_used_by_who_has_it_and_no_token() {
    let folder = Folder::new();
    let http = server();
    let run = fleet(&folder, &http, &format!("devices bundle {ID} --invite --expires-in 60")).ok();
    assert_eq!((run.stdout(), http.asked()[0].json()), (&*format!("{ONE_TIME}\n"), json!({"expires_in": 60})));
    let args = format!("fleet devices fetch --invitation - --text --server http://{}", http.address);
    let run = folder.run_with(&args, run.stdout()).ok();
    assert_eq!(run.stdout(), format!("id={ID}\nkey=71aa\n"));
    let request = &http.asked()[1];
    assert_eq!((request.line(), request.header("authorization")), ("POST /v1/bundles".to_owned(), None));
    assert_eq!(request.json(), json!({"token": ONE_TIME, "form": "text"}));
}

#[test]
fn a_qr_code_has_the_text_in_it() {
    let folder = Folder::new();
    let run = fleet(&folder, &server(), &format!("devices bundle {ID} --qr")).ok();
    let code = qrcode::QrCode::new(format!("id={ID}\nkey=71aa\n")).unwrap();
    let (width, lines) = (code.width() + 8, run.stdout().lines().count());
    assert_eq!(lines, width.div_ceil(2), "{}", run.stdout());
    // Two rows of modules a line, light ones drawn: without the quiet zone of four.
    let rows: Vec<Vec<char>> = run.stdout().lines().map(|line| line.chars().collect()).collect();
    for y in 0..code.width() {
        for x in 0..code.width() {
            let drawn = match rows[(y + 4) / 2][x + 4] {
                '\u{2588}' => true,
                '\u{2580}' => y % 2 == 0,
                '\u{2584}' => y % 2 == 1,
                _ => false,
            };
            assert_eq!(drawn, code[(x, y)] == qrcode::Color::Light, "{x} {y}");
        }
    }
}

#[test]
fn a_device_registers_its_public_key_and_no_secret() {
    let folder = Folder::new();
    folder.write("invitation", ONE_TIME);
    folder.run("keygen ed25519 --out panel.key").ok();
    let http = server();
    let run =
        fleet(&folder, &http, "devices register --invitation invitation --public-key-file panel.key.pub --name panel")
            .ok();
    assert!(run.stdout().contains(&"85".repeat(32)), "{}", run.stdout());
    let expected = json!({"token": ONE_TIME, "public_key": folder.digits("panel.key.pub"), "name": "panel"});
    assert_eq!(http.asked()[0].json(), expected);
    fleet(&folder, &http, "devices register --invitation invitation --public-key-file panel.key")
        .fails(1, "name the file of its public half");
}
