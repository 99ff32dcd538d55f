//! Access logs: where they go, and a request as the formatter sees it.

use std::time::Instant;

use config::access_log::AccessLog;

use crate::downstream::Downstream;
use crate::stream::Stream;

/// The process's log files, each opened once.
#[derive(Debug, Default)]
pub struct LogSinks {}

/// The logs of one connection manager.
#[derive(Debug, Default)]
pub(crate) struct AccessLogs {}

impl LogSinks {
    pub(crate) fn open(&self, _: &[AccessLog]) -> AccessLogs {
        AccessLogs {}
    }
}

impl AccessLogs {
    pub(crate) fn is_empty(&self) -> bool {
        true
    }
}

/// Writes the line of a finished request.
pub(crate) fn write(_: &Stream, _: &Downstream, _: Instant) {}
