//! What a key server says why it did not do something, as a sentence.

use crate::{output::Failure, terminal::printable};
use anyhow::anyhow;
use e4_keyserver_api::Problem;
use ureq::http::StatusCode;

/// How many lines are told that are wrong.
const LINES: usize = 20;

/// What an answer that is no success means.
pub(super) fn failure(status: StatusCode, body: &[u8], server: &str, has_token: bool) -> Failure {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let Some(reason) = problem.as_ref().and_then(reason) else {
        let what = if status.is_redirection() { "sends elsewhere" } else { "gives no reason" };
        return anyhow!("{server} answers with status {status} and {what}: is this the address of a key server?")
            .into();
    };
    match status {
        StatusCode::UNAUTHORIZED if !has_token => {
            anyhow!("{reason}. Give a token with --token-file, or in the environment variable E4_TOKEN").into()
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => anyhow!(reason).into(),
        status if status.is_client_error() => Failure::Refused(reason),
        _ => anyhow!("the key server could not do it: {reason}").into(),
    }
}

fn reason(problem: &Problem) -> Option<String> {
    let said = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    let mut reason = printable(said);
    for error in problem.errors.iter().take(LINES) {
        reason += &format!("\n  line {}: {}", error.line, printable(&error.detail));
    }
    if problem.errors.len() > LINES {
        reason += &format!("\n  and {} more", problem.errors.len() - LINES);
    }
    (!said.is_empty()).then_some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_steers_no_terminal_and_begins_no_line() {
        let body = br#"{"title":"Invalid","status":422,"detail":"a\u001b[2J\nError: b","errors":[{"line":3,"detail":"c\r\n"}]}"#;
        let Failure::Refused(reason) = failure(StatusCode::UNPROCESSABLE_ENTITY, body, "s", true) else { panic!() };
        assert_eq!(reason, "a\\u{1b}[2J\\nError: b\n  line 3: c\\r\\n");
    }

    #[test]
    fn an_answer_of_something_else_is_no_refusal() {
        for (status, body) in [(404, &b"<html>"[..]), (302, b""), (400, b"{}"), (500, b"null")] {
            let failure = failure(StatusCode::from_u16(status).unwrap(), body, "s", true);
            let Failure::Error(error) = failure else { panic!("{failure:?}") };
            assert!(error.to_string().contains("is this the address of a key server?"), "{error}");
        }
    }
}
