//! Which broker, as whom, and whether it is the right one.

use crate::{
    broker_kit::{Broker, PASSWORD, USER, brokers, dead_port},
    common::Run,
    fleet,
};

#[test]
fn a_broker_that_is_not_there_is_said_to_be() {
    let folder = fleet(&["panel"]);
    let dead = dead_port();
    for args in ["pub --state panel.state -t a -m x", "sub --state panel.state -t a", "control reset-topics --all"] {
        for version in ["311", "5"] {
            let run = folder.run(&format!("{args} -h 127.0.0.1 -p {dead} -V {version}"));
            run.fails(1, &format!("could not connect to the broker 127.0.0.1:{dead}: nothing listens on this port"));
        }
        folder.run(&format!("{args} -h no-such-host.invalid")).fails(1, "no-such-host.invalid:1883");
    }
}

#[test]
fn user_name_and_password_are_shown_to_the_broker() {
    let Some(broker) = Broker::mosquitto() else { return };
    let folder = fleet(&["panel"]);
    folder.write("password", format!("{PASSWORD}\n"));
    folder.set_mode("password", 0o600);
    for version in ["311", "5"] {
        let send = format!("sub -E --state panel.state -t a -p {} -V {version}", broker.password_port);
        let user = format!("{send} -u {USER}");
        folder.run(&format!("{user} --password-file password")).ok();
        folder.run_with(&format!("{user} --password-file -"), PASSWORD).ok();
        let run = |args: &str, env: &str, password: &str| {
            Run(folder.e4(&format!("{user} {args}")).env(env, password).output().unwrap())
        };
        run("", "E4_MQTT_PASSWORD", PASSWORD).ok();
        run("--password-file env:SECRET", "SECRET", PASSWORD).ok();
        Run(folder.e4(&user).args(["-P", PASSWORD]).output().unwrap()).ok();

        let refused = "check the user name (-u) and the password";
        folder.run(&send).fails(1, refused);
        folder.run(&user).fails(1, refused);
        let wrong = run("", "E4_MQTT_PASSWORD", "hunter2-hunter2").fails(1, refused);
        assert!(!wrong.stderr().contains("hunter2"), "{}", wrong.stderr());
        folder.run(&format!("{send} -P x")).fails(2, "--username");
        folder.run(&format!("{user} --password-file missing")).fails(1, "there is no file of the name");
        let publish = format!("pub --state panel.state -t a -s -u {USER} --password-file -");
        folder.run(&publish).fails(1, "standard input is what to publish");
    }
}

#[test]
fn brokers_are_trusted_by_their_certificate_authority_only() {
    for broker in brokers() {
        let folder = fleet(&["panel"]);
        let other = Broker::embedded();
        for version in ["311", "5"] {
            let listen = |args: &str| folder.run(&format!("sub -E --state panel.state -t a -V {version} {args}"));
            let (tls, plain) = (broker.tls_port, broker.port);
            listen(&format!("-p {tls} --cafile {}", broker.file("ca.pem"))).ok();
            listen(&format!("-h 127.0.0.1 -p {tls} --cafile {}", broker.file("ca.pem"))).ok();
            let wrong = format!("-p {tls} --cafile {}", other.file("ca.pem"));
            listen(&wrong).fails(1, "could not connect to the broker localhost");
            // The system does not know it either.
            listen(&format!("-p {tls} --tls")).fails(1, "");
            listen(&format!("-p {tls}")).fails(1, "could not connect to the broker");
            listen(&format!("-p {plain} --cafile {}", broker.file("ca.pem"))).fails(1, "could not connect");
            listen(&format!("-p {tls} --cafile {}", broker.file("server.key"))).fails(1, "no certificate in PEM");
            listen(&format!("-p {tls} --cafile missing.pem")).fails(1, "could not read missing.pem");
            listen("--cert a.pem").fails(2, "--key");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = fleet(&["panel"]);
    for (code, args, reason) in [
        (2, "pub --state panel.state -t a", "required"),
        (2, "pub --state panel.state -t a -m x -n", "cannot be used with"),
        (2, "pub --state panel.state -t a/# -m x", "wildcard"),
        (2, "pub --state panel.state -t a -m x -q 3", "the QoS is 0, 1 or 2"),
        (2, "pub --state panel.state -t a -m x -V 4", "invalid value"),
        (2, "pub --state panel.state -t a -r --clear-retained", "cannot be used with"),
        (2, "pub --state panel.state -t a --only-connect", "cannot be used with"),
        (2, "pub --state panel.state -m x", "--topic"),
        (1, "pub --state panel.state -t a -f missing", "could not read missing"),
        (1, "pub --state missing.state -t a -m x", "there is no state of a device at missing.state"),
        (2, "sub --state panel.state", "required"),
        (2, "sub --state panel.state -t a/#/b", "misplaced wildcard"),
        (2, "sub --state panel.state -t a -C 0", "invalid value"),
        (2, "sub --state panel.state -t a --max-age a", "a = is missing"),
        (2, "sub --state panel.state -t a --max-age a=soon", "a number of seconds"),
        (2, "sub --state panel.state -t a -N --payload-only", "cannot be used with"),
        (1, "sub --state panel.state -t a -N --json", "--json prints more than payloads"),
        (1, "sub --state missing.state -t a", "there is no state of a device at missing.state"),
        (1, "sub --state panel.state -t a -i=", "the MQTT client id is empty"),
    ] {
        folder.run(args).fails(code, reason);
    }
    // f22: names that brokers close the connection for.
    for name in ["a\u{1}b", "a\nb", "\ta", "a\u{7f}", "a\u{85}"] {
        for command in
            ["pub --state panel.state -m x -t", "sub --state panel.state -t", "sub --state panel.state -t b -U"]
        {
            Run(folder.e4(command).arg(name).output().unwrap()).fails(2, "it has a control character in it");
        }
    }
    // -h is the host, as it is for mosquitto's tools.
    for command in ["pub", "sub", "control reset-topics"] {
        let help = folder.run(&format!("{command} --help")).ok();
        assert!(help.stdout().contains("-h, --host <HOST>"), "{}", help.stdout());
    }
}
