//! Where the process is in its life, and what others ask of the control thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use proxy::LocalInfo;
use tokio::sync::mpsc;

use crate::admin::{DrainRequest, ServerState};

/// What the control thread is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Let connections end.
    Drain(DrainRequest),
    /// End now.
    Quit,
    /// Open log files anew.
    ReopenLogs,
}

/// More requests than this at a time mean that somebody repeats himself.
const COMMANDS: usize = 16;

/// The state of the process, shared between the control thread, which changes it, and the admin thread.
///
/// ```text
///   PreInitializing ──▶ Initializing ──▶ Live ──▶ Draining ──▶ (exit)
///    static clusters     first answers    └── health checks failed on purpose read as Draining
/// ```
#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: AtomicU8,
    local: Arc<LocalInfo>,
    started: Instant,
    commands: mpsc::Sender<Command>,
}

impl Lifecycle {
    pub(crate) fn new(local: Arc<LocalInfo>) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let lifecycle = Self {
            state: AtomicU8::new(number(ServerState::PreInitializing)),
            local,
            started: Instant::now(),
            commands,
        };
        (lifecycle, receiver)
    }

    pub(crate) fn state(&self) -> ServerState {
        match self.state.load(Ordering::Relaxed) {
            0 if self.local.health_check_failed() => ServerState::Draining,
            0 => ServerState::Live,
            1 => ServerState::Draining,
            2 => ServerState::PreInitializing,
            _ => ServerState::Initializing,
        }
    }

    pub(crate) fn set_state(&self, state: ServerState) {
        self.state.store(number(state), Ordering::Relaxed);
    }

    /// Whether the health checks that the proxy answers itself are to fail.
    pub(crate) fn set_health_check_failed(&self, failed: bool) {
        self.local.set_health_check_failed(failed);
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks the control thread. What does not fit is dropped: the same was asked many times already.
    pub(crate) fn command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("too many commands at a time, dropped: {command:?}");
        }
    }
}

/// Envoy's number, which is also the value of the gauge `server.state`.
pub(crate) fn number(state: ServerState) -> u8 {
    match state {
        ServerState::Live => 0,
        ServerState::Draining => 1,
        ServerState::PreInitializing => 2,
        ServerState::Initializing => 3,
    }
}
