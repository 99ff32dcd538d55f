//! SETTINGS (RFC 9113 section 6.5, RFC 8441 section 3): what we announce and what the peer announced.

use super::config::Config;
use super::error::Violation;
use super::frame::{self, DEFAULT_MAX_FRAME_SIZE, DEFAULT_WINDOW, FrameHeader, MAX_31};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// Parameters one SETTINGS frame may carry; the registry has about a dozen.
const MAX_PARAMETERS: usize = 64;

/// The peer's settings in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Octets of HPACK dynamic table our encoder may use. Initially 4096.
    pub header_table_size: u32,
    /// Streams we may have open. `None`: the peer set no limit (yet).
    pub max_concurrent_streams: Option<u32>,
    /// Send window of new streams in octets. Initially 65,535.
    pub initial_window_size: u32,
    /// Largest frame payload we may send. Initially 16,384.
    pub max_frame_size: u32,
    /// Largest header list the peer says it takes, in octets; advisory. `None`: not said.
    pub max_header_list_size: Option<u32>,
    /// Whether the peer, a server, takes extended CONNECT (RFC 8441).
    pub enable_connect_protocol: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            header_table_size: 4096,
            max_concurrent_streams: None,
            initial_window_size: DEFAULT_WINDOW,
            max_frame_size: DEFAULT_MAX_FRAME_SIZE,
            max_header_list_size: None,
            enable_connect_protocol: false,
        }
    }
}

impl PeerSettings {
    /// Applies the payload of a SETTINGS frame in order. `from_server`: the sender is a server.
    ///
    /// Several values of one parameter are applied one after the other (RFC 9113 section 6.5.3); as only the last
    /// INITIAL_WINDOW_SIZE is seen by streams and they all arrive at once, that is the same as applying the last.
    /// HEADER_TABLE_SIZE is the exception (RFC 7541 section 4.2: the smallest must be signalled), so the smallest is
    /// returned as well.
    pub(crate) fn apply(&mut self, payload: &[u8], from_server: bool) -> Result<u32, Violation> {
        if !payload.len().is_multiple_of(6) {
            return Err(Violation::SettingsLength);
        }
        if payload.len() / 6 > MAX_PARAMETERS {
            return Err(Violation::SettingsTooMany);
        }
        let mut smallest_table = u32::MAX;
        for parameter in payload.chunks_exact(6) {
            let value = frame::u32_at(parameter, 2);
            match u16::from_be_bytes([parameter[0], parameter[1]]) {
                HEADER_TABLE_SIZE => {
                    self.header_table_size = value;
                    smallest_table = smallest_table.min(value);
                }
                ENABLE_PUSH if value > 1 || (from_server && value == 1) => return Err(Violation::SettingsEnablePush),
                MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
                INITIAL_WINDOW_SIZE if value > MAX_31 => return Err(Violation::SettingsInitialWindow),
                INITIAL_WINDOW_SIZE => self.initial_window_size = value,
                MAX_FRAME_SIZE if !(DEFAULT_MAX_FRAME_SIZE..=0xff_ffff).contains(&value) => {
                    return Err(Violation::SettingsMaxFrameSize);
                }
                MAX_FRAME_SIZE => self.max_frame_size = value,
                MAX_HEADER_LIST_SIZE => self.max_header_list_size = Some(value),
                ENABLE_CONNECT_PROTOCOL => match value {
                    1 => self.enable_connect_protocol = true,
                    0 if !self.enable_connect_protocol => {}
                    _ => return Err(Violation::SettingsEnableConnect),
                },
                _ => {} // RFC 9113 section 6.5.2: unknown parameters are ignored.
            }
        }
        Ok(smallest_table)
    }
}

/// Appends the SETTINGS frame that announces `config`; parameters at their initial value are left out.
pub(crate) fn write_local(out: &mut Vec<u8>, config: &Config, server: bool) {
    let mut parameters = [(0_u16, 0_u32); 7];
    let mut count = 0;
    let mut add = |id, value| {
        parameters[count] = (id, value);
        count += 1;
    };
    if config.hpack_table_size != 4096 {
        add(HEADER_TABLE_SIZE, config.hpack_table_size);
    }
    if !server {
        add(ENABLE_PUSH, 0);
    }
    // A client need not limit what a server opens: with push off there is nothing to open.
    if server {
        add(MAX_CONCURRENT_STREAMS, config.max_concurrent_streams);
    }
    if config.initial_stream_window_size != DEFAULT_WINDOW {
        add(INITIAL_WINDOW_SIZE, config.initial_stream_window_size.min(MAX_31));
    }
    if local_max_frame_size(config) != DEFAULT_MAX_FRAME_SIZE {
        add(MAX_FRAME_SIZE, local_max_frame_size(config));
    }
    add(MAX_HEADER_LIST_SIZE, config.max_header_list_size);
    if server && config.allow_connect {
        add(ENABLE_CONNECT_PROTOCOL, 1);
    }
    let length = 6 * count as u32;
    out.extend_from_slice(
        &FrameHeader {
            length,
            kind: frame::SETTINGS,
            flags: 0,
            stream: 0,
        }
        .octets(),
    );
    for (id, value) in &parameters[..count] {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// The largest frame we take, whatever the configuration says within what RFC 9113 section 4.2 allows.
pub(crate) fn local_max_frame_size(config: &Config) -> u32 {
    config.max_frame_size.clamp(DEFAULT_MAX_FRAME_SIZE, 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(id: u16, value: u32) -> Vec<u8> {
        [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
    }

    /// RFC 9113 section 6.5.2 and 6.5.3.
    #[test]
    fn values_out_of_range_are_refused_and_unknown_parameters_ignored() {
        let apply = |id, value| PeerSettings::default().apply(&parameter(id, value), false);
        assert_eq!(apply(ENABLE_PUSH, 2), Err(Violation::SettingsEnablePush));
        assert_eq!(
            PeerSettings::default().apply(&parameter(ENABLE_PUSH, 1), true),
            Err(Violation::SettingsEnablePush)
        );
        assert_eq!(
            apply(INITIAL_WINDOW_SIZE, 1 << 31),
            Err(Violation::SettingsInitialWindow)
        );
        assert_eq!(apply(MAX_FRAME_SIZE, 16_383), Err(Violation::SettingsMaxFrameSize));
        assert_eq!(apply(MAX_FRAME_SIZE, 1 << 24), Err(Violation::SettingsMaxFrameSize));
        assert_eq!(apply(ENABLE_CONNECT_PROTOCOL, 2), Err(Violation::SettingsEnableConnect));
        assert_eq!(apply(0xf0f0, 7), Ok(u32::MAX));
        assert_eq!(
            PeerSettings::default().apply(&[0; 5], false),
            Err(Violation::SettingsLength)
        );
        assert_eq!(
            PeerSettings::default().apply(&[0xff; 6 * 65], false),
            Err(Violation::SettingsTooMany)
        );
    }

    /// RFC 7541 section 4.2: the smallest table size in between must be known, the last one counts.
    #[test]
    fn the_smallest_header_table_size_of_a_frame_is_told_beside_the_last() {
        let mut settings = PeerSettings::default();
        let payload = [parameter(HEADER_TABLE_SIZE, 0), parameter(HEADER_TABLE_SIZE, 4096)].concat();
        assert_eq!(settings.apply(&payload, false), Ok(0));
        assert_eq!(settings.header_table_size, 4096);
    }

    /// RFC 8441 section 3: once 1, never 0 again.
    #[test]
    fn extended_connect_cannot_be_taken_back() {
        let mut settings = PeerSettings::default();
        assert!(settings.apply(&parameter(ENABLE_CONNECT_PROTOCOL, 1), true).is_ok());
        assert!(settings.apply(&parameter(ENABLE_CONNECT_PROTOCOL, 0), true).is_err());
    }
}
