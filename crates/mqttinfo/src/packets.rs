//! Bytes from a broker, cut into packets.
//!
//! The codec reads what is inside a packet. The cutting is done here, since it has to be bounded whatever a server sends,
//! and since a look from outside wants to see what a codec refuses.

use crate::report::{Connack, Property};
use bytes::{Buf, Bytes, BytesMut};
use mqtt5_protocol::{
    FixedHeader, Packet, PacketType, PropertyId, PropertyValueType,
    encoding::{decode_variable_int, encode_variable_int},
};

pub use mqtt_advice::first_bytes::looks_like;

/// Bytes of a packet that are kept. The rest of a longer one is passed over.
pub const KEPT: usize = 64 * 1024;

/// Cuts a stream of bytes into packets. Keeps at most one packet, and of that at most [`KEPT`] bytes.
#[derive(Debug, Default)]
pub struct Cutter {
    buffer: BytesMut,
    /// Bytes of a long packet that are still to come, and go nowhere.
    passing_over: usize,
}

/// A packet as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type and flags.
    pub first: u8,
    /// What comes behind the remaining length, [`KEPT`] bytes at most.
    pub body: Bytes,
    /// Bytes that the body has on the wire.
    pub body_len: usize,
}

/// These bytes begin no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPacket;

impl Cutter {
    /// Where bytes that arrive are to be appended.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes out the next packet, none if it has not arrived yet.
    ///
    /// # Errors
    ///
    /// [`NoPacket`]: nothing that comes after that can be read either.
    pub fn take_frame(&mut self) -> Result<Option<Frame>, NoPacket> {
        let passed_over = self.passing_over.min(self.buffer.len());
        self.buffer.advance(passed_over);
        self.passing_over -= passed_over;
        if self.passing_over > 0 {
            return Ok(None);
        }
        let Some((header, header_len)) = header(&self.buffer)? else { return Ok(None) };
        let first = (u8::from(header.packet_type) << 4) | header.flags;
        let body_len = usize::try_from(header.remaining_length).map_err(|_| NoPacket)?;
        let kept = body_len.min(KEPT);
        if self.buffer.len() < header_len + kept {
            return Ok(None);
        }
        self.buffer.advance(header_len);
        let body = self.buffer.split_to(kept).freeze();
        self.passing_over = body_len - kept;
        Ok(Some(Frame { first, body, body_len }))
    }
}

/// The fixed header (MQTT 5, section 2.1) and its length, none if it is not all there.
fn header(bytes: &[u8]) -> Result<Option<(FixedHeader, usize)>, NoPacket> {
    let Some(first) = bytes.first() else { return Ok(None) };
    if PacketType::from_u8(first >> 4).is_none() {
        return Err(NoPacket);
    }
    let length = bytes.iter().skip(1).take(4);
    let ends = length.clone().position(|byte| byte & 0x80 == 0);
    if ends.is_none() {
        return if length.count() == 4 { Err(NoPacket) } else { Ok(None) };
    }
    let mut rest = bytes;
    let header = FixedHeader::decode(&mut rest).map_err(|_| NoPacket)?;
    Ok(Some((header, bytes.len() - rest.len())))
}

impl Frame {
    /// What kind of packet it is.
    #[must_use]
    pub fn kind(&self) -> Option<PacketType> {
        PacketType::from_u8(self.first >> 4)
    }

    /// What is in it, for a connection of this protocol level. None if the codec refuses it.
    #[must_use]
    pub fn packet(&self, level: u8) -> Option<Packet> {
        let kind = self.kind()?;
        let remaining_length = u32::try_from(self.body_len).ok()?;
        let header = FixedHeader::new(kind, self.first & 0x0F, remaining_length);
        Packet::decode_from_body_with_version(kind, &header, &mut self.body.clone(), level).ok()
    }

    /// The packet as it came, as far as it is kept and no longer than this many bytes. Its length is in as few bytes as it
    /// needs.
    #[must_use]
    pub fn bytes(&self, most: usize) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(5 + self.body.len().min(most));
        bytes.extend_from_slice(&[self.first]);
        // Longer than the standard allows is not read in the first place.
        let _longer = encode_variable_int(&mut bytes, u32::try_from(self.body_len).unwrap_or(u32::MAX));
        bytes.extend_from_slice(self.body.get(..most).unwrap_or(&self.body));
        bytes.truncate(most);
        bytes
    }

    /// Reads a CONNACK, of a connection of this protocol level, as far as it can be read: what a broker says against the
    /// standard tells the most about it. None for other packets.
    #[must_use]
    pub fn connack(&self, level: u8) -> Option<Connack> {
        /// Bytes of a CONNACK that go into a report.
        const SHOWN: usize = 512;
        if self.kind() != Some(PacketType::ConnAck) {
            return None;
        }
        let code = *self.body.get(1)?;
        // Brokers answer to a level that they do not know in an older form, without properties.
        let properties = if level >= 5 { properties(self.body.slice(2..)) } else { Vec::new() };
        let text = |wanted: PropertyId| {
            properties.iter().find(|(id, _)| *id == wanted as u8).and_then(|(_, value)| {
                let text = value.get(2..)?;
                Some(String::from_utf8_lossy(text).into_owned())
            })
        };
        Some(Connack {
            code,
            bytes: hex::encode(self.bytes(SHOWN)),
            assigned_id: text(PropertyId::AssignedClientIdentifier),
            reason: text(PropertyId::ReasonString),
            properties: properties.iter().map(|(id, value)| Property { id: *id, value: hex::encode(value) }).collect(),
        })
    }
}

/// The properties in their order, as far as they can be read. The codec does not keep the order, which tells one broker
/// from another.
fn properties(mut bytes: Bytes) -> Vec<(u8, Bytes)> {
    let mut properties = Vec::new();
    let Some(len) = decode_variable_int(&mut bytes).ok().and_then(|len| usize::try_from(len).ok()) else {
        return properties;
    };
    bytes.truncate(len);
    while bytes.has_remaining() {
        let id = bytes.get_u8();
        let Some(len) = PropertyId::from_u8(id).and_then(|id| value_len(id.value_type(), &bytes)) else { break };
        if len > bytes.len() {
            break;
        }
        properties.push((id, bytes.split_to(len)));
    }
    properties
}

/// Bytes of a property's value at the beginning of these.
fn value_len(kind: PropertyValueType, bytes: &Bytes) -> Option<usize> {
    let prefixed = |at: usize| {
        let len = bytes.get(at..at.checked_add(2)?)?;
        Some(at + 2 + usize::from(u16::from_be_bytes(len.try_into().ok()?)))
    };
    match kind {
        PropertyValueType::Byte => Some(1),
        PropertyValueType::TwoByteInteger => Some(2),
        PropertyValueType::FourByteInteger => Some(4),
        PropertyValueType::VariableByteInteger => {
            // As long as it is, which may be longer than it needs to be.
            let mut rest = bytes.clone();
            decode_variable_int(&mut rest).ok()?;
            Some(bytes.len() - rest.len())
        }
        PropertyValueType::BinaryData | PropertyValueType::Utf8String => prefixed(0),
        PropertyValueType::Utf8StringPair => prefixed(prefixed(0)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, NoPacket> {
        let (mut cutter, mut frames) = (Cutter::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            cutter.buffer().extend_from_slice(piece);
            while let Some(frame) = cutter.take_frame()? {
                frames.push(frame);
            }
            assert!(cutter.buffer.len() <= KEPT + 5 + piece.len(), "no more is kept than a packet");
        }
        Ok(frames)
    }

    #[test]
    fn packets_are_cut_the_same_in_whatever_pieces_they_arrive() {
        // CONNACK, PINGRESP, a PUBLISH longer than what is kept, PINGRESP.
        let mut stream = hex::decode("20020000d000").unwrap();
        let long = KEPT + 1000;
        stream.push(0x30);
        encode_variable_int(&mut stream, u32::try_from(long).unwrap()).unwrap();
        stream.extend(std::iter::repeat_n(7, long));
        stream.extend([0xd0, 0]);
        for piece in [1, 2, 3, 1000, 1_000_000] {
            let frames = cut(&stream, piece).unwrap();
            let kinds: Vec<_> = frames.iter().map(|frame| (frame.first, frame.body_len, frame.body.len())).collect();
            assert_eq!(kinds, [(0x20, 2, 2), (0xd0, 0, 0), (0x30, long, KEPT), (0xd0, 0, 0)], "pieces of {piece}");
        }
    }

    #[test]
    fn what_begins_no_packet_is_refused() {
        for bytes in ["00", "0f00", "20ffffffff", "20ffffff80"] {
            assert_eq!(cut(&hex::decode(bytes).unwrap(), 1), Err(NoPacket), "{bytes}");
        }
        for bytes in ["", "20", "20ff", "20ffffff"] {
            assert_eq!(cut(&hex::decode(bytes).unwrap(), 1), Ok(vec![]), "{bytes} may go on");
        }
    }

    #[test]
    fn properties_keep_their_order_and_their_bytes() {
        let frames = cut(&hex::decode("20110000 0e 22000a 12 0003 616263 21 0014 2a01".replace(' ', "")).unwrap(), 7);
        let connack = frames.unwrap()[0].connack(5).unwrap();
        let properties: Vec<_> = connack.properties.iter().map(|one| (one.id, one.value.as_str())).collect();
        assert_eq!(properties, [(0x22, "000a"), (0x12, "0003616263"), (0x21, "0014"), (0x2a, "01")]);
        assert_eq!((connack.code, connack.assigned_id.as_deref()), (0, Some("abc")));
        assert_eq!(connack.bytes, "201100000e22000a1200036162632100142a01");
    }

    #[test]
    fn a_connack_against_the_standard_is_read_as_far_as_it_goes() {
        for (bytes, code, properties) in [
            ("20020001", 1, 0),           // no properties at all: an answer in the form of 3.1.1
            ("2005000002 2200", 0, 0),    // cut off in the middle of a value
            ("20060000 03 ff0001", 0, 0), // an identifier that does not exist
            ("20080000 05 2a01 ff0001", 0, 1),
            ("2003000063", 0, 0), // more properties announced than there are
            ("2004000001 22", 0, 0),
            ("20080000 05 0b8000 2a01", 0, 2), // an integer in more bytes than it needs
        ] {
            let frame = &cut(&hex::decode(bytes.replace(' ', "")).unwrap(), 100).unwrap()[0];
            let connack = frame.connack(5).unwrap();
            assert_eq!((connack.code, connack.properties.len()), (code, properties), "{bytes}");
        }
        assert_eq!(cut(&[0x20, 1, 0], 3).unwrap()[0].connack(5), None, "without a code");
        assert_eq!(cut(&[0xd0, 0], 3).unwrap()[0].connack(5), None, "no CONNACK");
    }
}
