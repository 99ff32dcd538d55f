//! gRPC statuses as access logs write them.

use super::context::LogContext;

/// How a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcStatusFormat {
    /// `DeadlineExceeded`
    Camel,
    /// `DEADLINE_EXCEEDED`
    Snake,
    /// `4`
    Number,
}

const NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// The name of a status in this format. A number nobody named is written as it is.
pub(super) fn name(status: u32, format: GrpcStatusFormat) -> Option<&'static str> {
    let (camel, snake) = NAMES.get(status as usize)?;
    match format {
        GrpcStatusFormat::Camel => Some(camel),
        GrpcStatusFormat::Snake => Some(snake),
        GrpcStatusFormat::Number => None,
    }
}

/// The status of a gRPC request: from the trailers, from the headers of a trailers-only answer, or what the HTTP
/// status stands for (gRPC: HTTP to gRPC Status Code Mapping). `None` when the request is not gRPC.
pub(super) fn status(context: &(impl LogContext + ?Sized)) -> Option<u32> {
    let content_type = context.request_header("content-type")?;
    let suffix = content_type.strip_prefix(b"application/grpc")?;
    if !matches!(suffix.first(), None | Some(b'+' | b';')) {
        return None;
    }
    let told = context
        .response_trailer("grpc-status")
        .or_else(|| context.response_header("grpc-status"));
    if let Some(told) = told {
        return std::str::from_utf8(told).ok()?.parse().ok();
    }
    Some(match context.response_code()? {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    })
}
