//! Conversion from and to `http::HeaderMap`, for slow paths that want one.

use super::HeaderBlock;
use http::{HeaderMap, HeaderName, HeaderValue};

impl HeaderBlock {
    /// The regular fields as an `http::HeaderMap`, sensitivity kept. Fields that `http` doesn't accept are left out;
    /// blocks that came from a connection have none.
    pub fn to_header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for field in self {
            let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value))
            else {
                continue;
            };
            value.set_sensitive(field.sensitive);
            map.append(name, value);
        }
        map
    }

    /// A block with the fields of `map`, sensitivity kept, without pseudo-headers.
    pub fn from_header_map(map: &HeaderMap) -> Self {
        let mut block = Self::new();
        for (name, value) in map {
            if value.is_sensitive() {
                block.append_sensitive(name.as_str(), value.as_bytes());
            } else {
                block.append(name.as_str(), value.as_bytes());
            }
        }
        block
    }
}
