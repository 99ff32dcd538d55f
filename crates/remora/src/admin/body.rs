//! The body of a request: a form, as `/logging` takes it instead of a query.

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

/// What a form may take.
const MAX_FORM: usize = 64 * 1024;

/// The body when it is a form; none when it is something else or too long.
pub(super) async fn form(headers: &http::HeaderMap, body: Incoming) -> Option<String> {
    let content_type = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let body = Limited::new(body, MAX_FORM).collect().await.ok()?;
    String::from_utf8(body.to_bytes().to_vec()).ok()
}
