//! The record layer of an established TLS 1.3 session (RFC 8446, section 5).
//!
//! rustls makes the handshake and hands over the traffic keys; from then on records go straight from the
//! caller's buffer to the caller's buffer: decrypted in one pass, encrypted in place. rustls keeps the key
//! schedule, for key updates and session tickets.
//!
//! An idle session holds two keys, two counters and no buffer. That is why it is here and not left to the library:
//! `cargo test -p tls --test idle_memory -- --nocapture` shows 3.1 KiB for each side of an idle mutual TLS session;
//! the same test with rustls' own records throughout (2026-11-20, rustls 0.23, x86_64) showed 14.5 KiB, as much as
//! half of what Envoy takes for the whole connection. The cryptography is aws-lc's, through its AEAD interface, and
//! the keys never leave this crate. TLS 1.2 stays with rustls.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ConnectionTrafficSecrets, ExtractedSecrets};

use super::Progress;
use crate::error::{AlertName, TlsError};

pub(super) const HEADER: usize = 5;
const TAG: usize = 16;
/// RFC 8446 5.1: the most plaintext in a record.
const MAX_FRAGMENT: usize = 1 << 14;
/// RFC 8446 5.2: the most a protected record may be longer than its plaintext.
const MAX_EXPANSION: usize = 256;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Records under one key before it is replaced. RFC 8446 5.5 allows AES-GCM 2^24.5.
const RECORDS_PER_KEY: u64 = 1 << 23;
/// Records without application data that a peer may send in a row: each costs a decryption and gives nothing.
const MAX_IDLE_RECORDS: u8 = 64;
/// The longest message after the handshake: a ticket with everything in it is far smaller.
const MAX_MESSAGE: usize = 64 * 1024;

/// One direction's key.
struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Protection {
    fn new(sequence: u64, secrets: &ConnectionTrafficSecrets) -> Result<Protection, TlsError> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(TlsError::protocol("a cipher suite this record layer does not know")),
        };
        let key =
            UnboundKey::new(algorithm, key.as_ref()).map_err(|_| TlsError::protocol("an unusable traffic key"))?;
        let iv = iv
            .as_ref()
            .try_into()
            .map_err(|_| TlsError::protocol("an unusable traffic key"))?;
        Ok(Protection {
            key: LessSafeKey::new(key),
            iv,
            sequence,
        })
    }

    /// RFC 8446 5.3: the sequence number, exclusive-or the key's own vector.
    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// What rustls keeps of the session.
pub(super) enum KeySchedule {
    Server(Box<KernelConnection<ServerConnectionData>>),
    Client(Box<KernelConnection<ClientConnectionData>>),
}

impl KeySchedule {
    fn next_receive(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            KeySchedule::Server(connection) => connection.update_rx_secret(),
            KeySchedule::Client(connection) => connection.update_rx_secret(),
        }
    }

    fn next_transmit(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            KeySchedule::Server(connection) => connection.update_tx_secret(),
            KeySchedule::Client(connection) => connection.update_tx_secret(),
        }
    }
}

/// An established TLS 1.3 session.
pub(super) struct Traffic {
    receive: Protection,
    transmit: Protection,
    schedule: KeySchedule,
    /// The beginning of a record whose end has not come; empty, and without memory, between records.
    partial: Vec<u8>,
    /// The beginning of a handshake message that goes on in the next record.
    message: Vec<u8>,
    idle_records: u8,
}

/// Why reading stopped: the failure, and the alert that says so to the peer.
struct Fatal(TlsError, AlertDescription);

impl Traffic {
    pub(super) fn new(secrets: &ExtractedSecrets, schedule: KeySchedule) -> Result<Traffic, TlsError> {
        Ok(Traffic {
            receive: Protection::new(secrets.rx.0, &secrets.rx.1)?,
            transmit: Protection::new(secrets.tx.0, &secrets.tx.1)?,
            schedule,
            partial: Vec::new(),
            message: Vec::new(),
            idle_records: 0,
        })
    }

    /// Takes ciphertext, appends plaintext; what is to be said to the peer goes to `output`.
    pub(super) fn read(
        &mut self,
        mut ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Progress, TlsError> {
        let mut progress = Progress::default();
        while !ciphertext.is_empty() && !progress.closed {
            let result = if self.partial.is_empty() {
                match record_length(ciphertext) {
                    Ok(Some(length)) if length <= ciphertext.len() => {
                        let (record, rest) = ciphertext.split_at(length);
                        ciphertext = rest;
                        self.open(record, plaintext, output, &mut progress)
                    }
                    Ok(_) => {
                        self.partial.extend_from_slice(ciphertext);
                        ciphertext = &[];
                        Ok(())
                    }
                    Err(fatal) => Err(fatal),
                }
            } else {
                self.complete_partial(&mut ciphertext, plaintext, output, &mut progress)
            };
            if let Err(Fatal(error, alert)) = result {
                self.alert(2, alert, output);
                return Err(error);
            }
        }
        Ok(progress)
    }

    /// Adds to a record that had begun, and opens it once it is whole.
    fn complete_partial(
        &mut self,
        ciphertext: &mut &[u8],
        plaintext: &mut Vec<u8>,
        output: &mut Vec<u8>,
        progress: &mut Progress,
    ) -> Result<(), Fatal> {
        let wanted = record_length(&self.partial)?.unwrap_or(HEADER);
        let missing = wanted.saturating_sub(self.partial.len()).min(ciphertext.len());
        let (more, rest) = ciphertext.split_at(missing);
        self.partial.extend_from_slice(more);
        *ciphertext = rest;
        match record_length(&self.partial)? {
            Some(length) if length <= self.partial.len() => {
                let record = std::mem::take(&mut self.partial);
                self.open(&record, plaintext, output, progress)
            }
            _ => Ok(()),
        }
    }

    /// Opens one whole record.
    fn open(
        &mut self,
        record: &[u8],
        plaintext: &mut Vec<u8>,
        output: &mut Vec<u8>,
        progress: &mut Progress,
    ) -> Result<(), Fatal> {
        let (header, body) = record.split_at(HEADER);
        if header[0] != APPLICATION_DATA {
            // After the handshake everything is protected; even a ChangeCipherSpec is out of place (RFC 8446 5).
            let what = match header[0] {
                CHANGE_CIPHER_SPEC => "a ChangeCipherSpec after the handshake",
                ALERT => "an alert without protection",
                _ => "a record without protection",
            };
            return Err(Fatal(TlsError::protocol(what), AlertDescription::UnexpectedMessage));
        }
        let Some(sealed) = body.len().checked_sub(TAG).filter(|sealed| *sealed > 0) else {
            return Err(Fatal(
                TlsError::protocol("a record too short to be protected"),
                AlertDescription::BadRecordMac,
            ));
        };
        let start = plaintext.len();
        plaintext.resize(start + sealed, 0);
        let nonce = self.receive.next_nonce();
        let opened = self.receive.key.open_separate_gather(
            nonce,
            Aad::from(header),
            &body[..sealed],
            &body[sealed..],
            &mut plaintext[start..],
        );
        if opened.is_err() {
            plaintext.truncate(start);
            return Err(Fatal(
                TlsError::protocol("a record that does not authenticate"),
                AlertDescription::BadRecordMac,
            ));
        }
        // RFC 8446 5.2: the content type is the last byte that is not padding.
        let Some(last) = plaintext[start..].iter().rposition(|byte| *byte != 0) else {
            plaintext.truncate(start);
            return Err(Fatal(
                TlsError::protocol("a record without a content type"),
                AlertDescription::UnexpectedMessage,
            ));
        };
        let content_type = plaintext[start + last];
        plaintext.truncate(start + last);
        if last > MAX_FRAGMENT {
            plaintext.truncate(start);
            return Err(Fatal(
                TlsError::protocol("a record that is too long"),
                AlertDescription::RecordOverflow,
            ));
        }
        if content_type == APPLICATION_DATA && self.message.is_empty() {
            if last > 0 {
                self.idle_records = 0;
                return Ok(());
            }
            return self.count_idle();
        }
        // Everything else is small and rare: it may be copied.
        let content = plaintext.split_off(start);
        self.count_idle()?;
        match content_type {
            ALERT => self.received_alert(&content, progress),
            HANDSHAKE => self.received_handshake(&content, output),
            _ => Err(Fatal(
                TlsError::protocol("an unexpected record"),
                AlertDescription::UnexpectedMessage,
            )),
        }
    }

    fn count_idle(&mut self) -> Result<(), Fatal> {
        self.idle_records += 1;
        if self.idle_records > MAX_IDLE_RECORDS {
            let error = TlsError::protocol("too many records without data");
            return Err(Fatal(error, AlertDescription::UnexpectedMessage));
        }
        Ok(())
    }

    fn received_alert(&mut self, content: &[u8], progress: &mut Progress) -> Result<(), Fatal> {
        let [_level, description] = content else {
            return Err(Fatal(
                TlsError::protocol("a malformed alert"),
                AlertDescription::DecodeError,
            ));
        };
        match AlertDescription::from(*description) {
            AlertDescription::CloseNotify => {
                progress.closed = true;
                Ok(())
            }
            // RFC 8446 6.1: the peer will close; it says so again with close_notify.
            AlertDescription::UserCanceled => Ok(()),
            // The session is over; RFC 8446 6.2 has no answer to an alert.
            alert => Err(Fatal(TlsError::Alert(AlertName(alert)), AlertDescription::CloseNotify)),
        }
    }

    /// Messages after the handshake: tickets at a client, key updates.
    fn received_handshake(&mut self, content: &[u8], output: &mut Vec<u8>) -> Result<(), Fatal> {
        let mut messages = std::mem::take(&mut self.message);
        messages.extend_from_slice(content);
        if content.is_empty() || messages.len() > MAX_MESSAGE {
            return Err(Fatal(
                TlsError::protocol("a malformed handshake record"),
                AlertDescription::UnexpectedMessage,
            ));
        }
        let mut rest = &*messages;
        while let [kind, l0, l1, l2, after @ ..] = rest {
            let length = usize::from(*l0) << 16 | usize::from(*l1) << 8 | usize::from(*l2);
            let Some((body, after)) = after.split_at_checked(length) else {
                break;
            };
            match (*kind, &mut self.schedule) {
                (NEW_SESSION_TICKET, KeySchedule::Client(connection)) => {
                    connection.handle_new_session_ticket(body).map_err(|error| {
                        Fatal(
                            TlsError::Protocol(error.to_string().into()),
                            AlertDescription::DecodeError,
                        )
                    })?;
                }
                (KEY_UPDATE, _) => {
                    if !after.is_empty() {
                        // RFC 8446 5.1: a key change ends its record.
                        let error = TlsError::protocol("data behind a key update");
                        return Err(Fatal(error, AlertDescription::UnexpectedMessage));
                    }
                    self.received_key_update(body, output)?;
                }
                _ => {
                    let error = TlsError::protocol("an unexpected handshake message");
                    return Err(Fatal(error, AlertDescription::UnexpectedMessage));
                }
            }
            rest = after;
        }
        if !rest.is_empty() {
            self.message = rest.to_vec();
        }
        Ok(())
    }

    /// RFC 8446 4.6.3.
    fn received_key_update(&mut self, body: &[u8], output: &mut Vec<u8>) -> Result<(), Fatal> {
        let internal = |error: TlsError| Fatal(error, AlertDescription::InternalError);
        let requested = match body {
            [0] => false,
            [1] => true,
            _ => {
                return Err(Fatal(
                    TlsError::protocol("a malformed key update"),
                    AlertDescription::IllegalParameter,
                ));
            }
        };
        let (sequence, secrets) = self.schedule.next_receive().map_err(|error| internal(error.into()))?;
        self.receive = Protection::new(sequence, &secrets).map_err(internal)?;
        if requested {
            self.update_transmit_key(output).map_err(internal)?;
        }
        Ok(())
    }

    fn update_transmit_key(&mut self, output: &mut Vec<u8>) -> Result<(), TlsError> {
        self.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], output)?;
        let (sequence, secrets) = self.schedule.next_transmit()?;
        self.transmit = Protection::new(sequence, &secrets)?;
        Ok(())
    }

    /// Encrypts plaintext in records of at most 16 KiB.
    pub(super) fn write(&mut self, plaintext: &[u8], output: &mut Vec<u8>) -> Result<(), TlsError> {
        let records = plaintext.len().div_ceil(MAX_FRAGMENT);
        output.reserve(plaintext.len() + records * (HEADER + 1 + TAG));
        for fragment in plaintext.chunks(MAX_FRAGMENT) {
            if self.transmit.sequence >= RECORDS_PER_KEY {
                self.update_transmit_key(output)?;
            }
            self.seal(APPLICATION_DATA, fragment, output)?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(super) fn close_notify(&mut self, output: &mut Vec<u8>) {
        self.alert(1, AlertDescription::CloseNotify, output);
    }

    fn alert(&mut self, level: u8, description: AlertDescription, output: &mut Vec<u8>) {
        // A session whose key cannot seal any more has nothing to say.
        let _ = self.seal(ALERT, &[level, u8::from(description)], output);
    }

    /// Appends one protected record.
    fn seal(&mut self, content_type: u8, fragment: &[u8], output: &mut Vec<u8>) -> Result<(), TlsError> {
        let length = fragment.len() + 1 + TAG;
        let [high, low] = u16::try_from(length)
            .map_err(|_| TlsError::protocol("a fragment too long"))?
            .to_be_bytes();
        // RFC 8446 5.2: every protected record looks like application data of TLS 1.2.
        let header = [APPLICATION_DATA, 3, 3, high, low];
        output.extend_from_slice(&header);
        let start = output.len();
        output.extend_from_slice(fragment);
        output.push(content_type);
        let nonce = self.transmit.next_nonce();
        match self
            .transmit
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut output[start..])
        {
            Ok(tag) => {
                output.extend_from_slice(tag.as_ref());
                Ok(())
            }
            Err(_) => {
                // Nothing of an unsealed fragment may leave.
                output.truncate(start - HEADER);
                Err(TlsError::protocol("a record could not be sealed"))
            }
        }
    }
}

/// Length of the record that begins here, header included, once its header is there.
fn record_length(bytes: &[u8]) -> Result<Option<usize>, Fatal> {
    let Some(header) = bytes.get(..HEADER) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > MAX_FRAGMENT + MAX_EXPANSION {
        return Err(Fatal(
            TlsError::protocol("a record that is too long"),
            AlertDescription::RecordOverflow,
        ));
    }
    Ok(Some(HEADER + length))
}

#[cfg(test)]
mod tests;
