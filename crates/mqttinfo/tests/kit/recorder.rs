//! A way to a broker on which every packet of the client is written down.

use mqtt5_protocol::{FixedHeader, Packet, PacketType, packet::MqttPacket, packet::connect::ConnectPacket};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the client of one connection sent, as bytes.
pub(crate) type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// Forwards to a port, and returns its own and what was sent through it, connection by connection.
pub(crate) async fn recorder(port: u16) -> (u16, Sent) {
    let sent = Sent::default();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let all = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            let index = {
                let mut all = all.lock().unwrap();
                all.push(Vec::new());
                all.len() - 1
            };
            tokio::spawn(async move {
                let mut broker = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_broker, mut to_broker) = broker.split();
                let upwards = async {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                        all.lock().unwrap()[index].extend(&buffer[..read]);
                        if to_broker.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    () = upwards => (),
                    _ = tokio::io::copy(&mut from_broker, &mut to_client) => (),
                }
            });
        }
    });
    (own, sent)
}

/// A packet of a client: its first byte, what is in it if the codec can read it, and its bytes.
pub(crate) struct Recorded {
    pub(crate) first: u8,
    pub(crate) packet: Option<Packet>,
    pub(crate) body: Vec<u8>,
}

/// The packets of one connection, and its protocol level.
pub(crate) fn packets(mut bytes: &[u8]) -> (u8, Vec<Recorded>) {
    let mut level = 0;
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let first = bytes[0];
        let header = FixedHeader::decode(&mut bytes).expect("we send whole packets");
        let (mut body, rest) = bytes.split_at(usize::try_from(header.remaining_length).unwrap());
        let kept = body.to_vec();
        if header.packet_type == PacketType::Connect && level == 0 {
            level = kept[2 + usize::from(kept[1])];
        }
        let packet = match header.packet_type {
            PacketType::Connect => {
                ConnectPacket::decode_body(&mut body, &header).ok().map(|connect| Packet::Connect(Box::new(connect)))
            }
            kind => Packet::decode_from_body_with_version(kind, &header, &mut body, level.clamp(4, 5)).ok(),
        };
        packets.push(Recorded { first, packet, body: kept });
        bytes = rest;
    }
    (level, packets)
}
