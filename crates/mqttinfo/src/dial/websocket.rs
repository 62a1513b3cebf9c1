//! MQTT in WebSocket messages (MQTT 5, section 6).

use super::stream::{BoxedStream, DialError};
use crate::target::{Target, Transport};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use std::io;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        ClientRequestBuilder, Error, Message, error::UrlError, handshake::client::Response, http::Uri,
        protocol::WebSocketConfig,
    },
};

/// Bytes of the largest message that is taken. Packets may span messages, so that this limits none.
const MAX_MESSAGE: usize = 256 * 1024;

/// A WebSocket whose messages are read as one stream of bytes.
pub(crate) struct WebSocket(WebSocketStream<BoxedStream>);

impl WebSocket {
    pub(super) async fn connect(target: &Target, stream: BoxedStream) -> Result<Self, DialError> {
        // What the stream is, and not how it was made, decides what runs below: the scheme is only a form.
        let scheme = if target.transport() == Transport::SecureWebSocket { "wss" } else { "ws" };
        let uri = format!("{scheme}://{}{}", target.authority(), target.path());
        let uri: Uri = uri.parse().map_err(|_| refused(&Error::Url(UrlError::NoPathOrQuery)))?;
        // MQTT 5, section 6: the subprotocol is `mqtt`, and messages are binary.
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("mqtt");
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(16 * 1024);
        let connected = client_async_with_config(request, stream, Some(config)).await;
        let (websocket, _): (_, Response) = connected.map_err(|error| refused(&error))?;
        Ok(Self(websocket))
    }

    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            let message = match self.0.next().await {
                None => return Ok(0),
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return Ok(0),
                Some(Err(Error::Io(error))) => return Err(error),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(message)) => message,
            };
            match message {
                Message::Close(_) => return Ok(0),
                // The library answers pings itself.
                Message::Ping(_) | Message::Pong(_) => (),
                message if message.is_empty() => (),
                message => {
                    let data = message.into_data();
                    buffer.extend_from_slice(&data);
                    return Ok(data.len());
                }
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        self.0.send(message).await.map_err(|error| match error {
            Error::Io(error) => error,
            error => io::Error::other(error),
        })
    }

    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.0.close(None).await.map_err(io::Error::other)
    }
}

fn refused(error: &Error) -> DialError {
    DialError::WebSocket(match error {
        Error::Http(response) => format!("the server answers with HTTP status {}", response.status()),
        error => error.to_string(),
    })
}
