//! `/v1/events`: what happens from now on, as it happens.

use super::Api;
use crate::fleet::{Event, moment};
use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use e4_keyserver_api as said;
use futures_util::{Stream, stream};
use std::convert::Infallible;
use tokio::sync::broadcast::error::RecvError;

/// What happens from now on in this process, as server-sent events. Nothing depends on them: who was not connected, or is too slow,
/// has missed some, and asks the lists.
#[utoipa::path(get, path = "/v1/events", responses((status = 200, content_type = "text/event-stream", body = said::Event)))]
pub(super) async fn listen(State(api): State<Api>) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let events = stream::unfold(api.fleet().events(), |mut events| async move {
        let event = match events.recv().await {
            Ok(event) => written(&event),
            Err(RecvError::Lagged(missed)) => sse::Event::default().comment(format!("{missed} events were missed")),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), events))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn written(event: &Event) -> sse::Event {
    let said = said::Event {
        at: moment(event.at),
        kind: event.kind.to_owned(),
        subject: event.subject.clone(),
        text: event.text.clone(),
    };
    // Four texts can always be written, and never have a line break in JSON.
    sse::Event::default().event(event.kind).data(serde_json::to_string(&said).unwrap_or_default())
}
