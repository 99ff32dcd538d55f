//! The last-good cache: what was accepted, on disk, so that a proxy restarted while its control plane is away serves what
//! it served before.
//!
//! The file begins with a line that says what it is and in which version, then a checksum over the rest, which is one
//! protobuf message. It holds secrets as they came over SDS, keys among them: it is readable by its owner alone. It is
//! written beside its place and moved there, so that a crash leaves the old file or the new one, never half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use xds_api::prost::Message;

/// Name of the file in the directory.
const FILE: &str = "last-good";
/// What the file begins with. The number changes with the format.
const MAGIC: &[u8] = b"remora last-good cache 1\n";

/// What the file holds.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "xds_api::prost")]
pub(crate) struct Image {
    /// `node.id` and `node.cluster` of the proxy it was written by: another one's configuration is of no use.
    #[prost(string, tag = "1")]
    pub(crate) node_id: String,
    #[prost(string, tag = "2")]
    pub(crate) node_cluster: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) resources: Vec<CachedResource>,
}

/// One accepted resource.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "xds_api::prost")]
pub(crate) struct CachedResource {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) version: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) value: Vec<u8>,
}

/// Why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is no last-good cache, or one of another version")]
    Foreign,
    #[error("is damaged: its checksum is wrong")]
    Damaged,
    #[error("is damaged: {0}")]
    Undecodable(#[from] xds_api::prost::DecodeError),
    #[error("belongs to node {0:?}")]
    OtherNode(String),
}

/// Reads the cache of a node. None when there is no file.
///
/// # Errors
/// When there is one that cannot be used; it is to be named in a warning and otherwise ignored.
pub(crate) fn read(directory: &Path, node_id: &str, node_cluster: &str) -> Result<Option<Image>, CacheError> {
    let bytes = match fs::read(directory.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let rest = bytes.strip_prefix(MAGIC).ok_or(CacheError::Foreign)?;
    let (checksum, body) = rest.split_first_chunk().ok_or(CacheError::Damaged)?;
    if u32::from_be_bytes(*checksum) != crc32(body) {
        return Err(CacheError::Damaged);
    }
    let image = Image::decode(body)?;
    if image.node_id != node_id || image.node_cluster != node_cluster {
        return Err(CacheError::OtherNode(image.node_id));
    }
    Ok(Some(image))
}

/// Writes the cache and returns its path.
///
/// # Errors
/// When that is not possible; the file that was there stays.
pub(crate) fn write(directory: &Path, image: &Image) -> io::Result<PathBuf> {
    let (path, beside) = (directory.join(FILE), directory.join(format!("{FILE}.new")));
    let body = image.encode_to_vec();
    // A file left by a crash may have other permissions.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32(&body).to_be_bytes())?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    // The move itself is safe only with the directory.
    File::open(directory)?.sync_all()?;
    Ok(path)
}

/// CRC-32 as in IEEE 802.3: tells damage, not malice.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 {
                    0xedb8_8320 ^ (value >> 1)
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes
        .iter()
        .fold(!0, |crc: u32, byte| TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of one test, removed with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!(
                "xds-cache-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            );
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("a new directory");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn image() -> Image {
        let resource = CachedResource {
            type_url: "type".into(),
            name: "name".into(),
            version: "7".into(),
            value: vec![1, 2, 3],
        };
        Image {
            node_id: "n".into(),
            node_cluster: "c".into(),
            resources: vec![resource; 3],
        }
    }

    #[test]
    fn what_is_written_is_read_again_by_the_same_node_only() {
        let scratch = Scratch::new();
        assert!(read(&scratch.0, "n", "c").expect("nothing is no error").is_none());
        let path = write(&scratch.0, &image()).expect("writable");
        assert_eq!(read(&scratch.0, "n", "c").expect("good").expect("there"), image());
        assert!(matches!(read(&scratch.0, "other", "c"), Err(CacheError::OtherNode(node)) if node == "n"));
        let mode = fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_cache_is_recognised_wherever_it_is_damaged() {
        let scratch = Scratch::new();
        let path = write(&scratch.0, &image()).expect("writable");
        let good = fs::read(&path).expect("readable");
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).expect("writable");
            assert!(read(&scratch.0, "n", "c").is_err(), "byte {at}");
            fs::write(&path, &good[..at]).expect("writable");
            assert!(read(&scratch.0, "n", "c").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_left_by_a_crash_is_in_nobodys_way() {
        let scratch = Scratch::new();
        fs::write(scratch.0.join("last-good.new"), b"half").expect("writable");
        write(&scratch.0, &image()).expect("writable all the same");
        assert!(read(&scratch.0, "n", "c").is_ok_and(|image| image.is_some()));
    }

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
