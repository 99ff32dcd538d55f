//! Signals of the operating system.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// SIGTERM, SIGINT: end, after draining.
    End,
    /// SIGUSR1: log files were moved away.
    ReopenLogs,
}

/// The signals that are handled. Others do what they do by default; SIGHUP is ignored, as in Envoy.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Caught {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {
                    tracing::warn!("caught SIGTERM");
                    return Caught::End;
                }
                _ = self.interrupt.recv() => {
                    tracing::warn!("caught SIGINT");
                    return Caught::End;
                }
                _ = self.user1.recv() => {
                    tracing::info!("caught SIGUSR1, opening log files anew");
                    return Caught::ReopenLogs;
                }
                // As Envoy does.
                _ = self.hang_up.recv() => tracing::warn!("caught SIGHUP, ignored"),
            }
        }
    }
}
