//! Clusters joined to the network: resolutions and health checks as tasks of the control thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use config::Config;
use tokio::task::{self, JoinError, JoinSet};

use super::{Action, ClusterMap, Clusters, ClustersView, Event, Token};
use crate::dns::{Resolution, Resolve, ResolveError};
use crate::health::state::CheckResult;
use crate::health::{Check, IdleConnection};

/// [`Clusters`] with a resolver and a health checker. Lives on the control thread, inside a tokio runtime.
///
/// ```text
///   loop {
///       select! {
///           event = driver.next() => tell(event),
///           config = configs.changed() => publish(driver.reconcile(&config)),
///       }
///   }
/// ```
#[derive(Debug)]
pub struct Driver {
    clusters: Clusters,
    resolver: Arc<dyn Resolve>,
    checker: Arc<dyn Check>,
    /// Dropped with the driver, which ends them.
    tasks: JoinSet<Completed>,
    /// What each task is for, should it panic: its endpoint or name is tried again later like after any failure.
    started: HashMap<task::Id, Started>,
}

#[derive(Clone, Copy, Debug)]
enum Started {
    Resolving(Token),
    Checking(Token),
}

/// How a task ended.
#[derive(Debug)]
enum Completed {
    Resolved(Token, Result<Resolution, ResolveError>),
    Checked(Token, CheckResult, Option<IdleConnection>),
}

impl Driver {
    /// Drives `clusters`.
    pub fn new(clusters: Clusters, resolver: Arc<dyn Resolve>, checker: Arc<dyn Check>) -> Self {
        Self {
            clusters,
            resolver,
            checker,
            tasks: JoinSet::new(),
            started: HashMap::new(),
        }
    }

    /// See [`Clusters::reconcile`].
    pub fn reconcile(&mut self, config: &Config) -> Arc<ClusterMap> {
        self.clusters.reconcile(config, now())
    }

    /// See [`Clusters::warm`].
    pub fn warm(&mut self, candidates: &Config) {
        self.clusters.warm(candidates, now());
    }

    /// See [`Clusters::view`].
    pub fn view(&self) -> ClustersView {
        self.clusters.view()
    }

    /// The clusters themselves.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// Resolves, checks and rebuilds until something happens that the caller should know. Must be polled for any of
    /// that to go on. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            self.clusters.on_deadline(now());
            while let Some(action) = self.clusters.poll_action() {
                self.start(action);
            }
            if let Some(event) = self.clusters.poll_event() {
                return event;
            }
            let deadline = self.clusters.deadline();
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let registry = self.clusters.registry().clone();
            tokio::select! {
                () = sleep => {}
                () = registry.signals().marked() => self.clusters.on_marked(now()),
                Some(ended) = self.tasks.join_next_with_id() => self.on_ended(ended),
            }
        }
    }

    fn on_ended(&mut self, ended: Result<(task::Id, Completed), JoinError>) {
        match ended {
            Ok((id, completed)) => {
                self.started.remove(&id);
                match completed {
                    Completed::Resolved(token, result) => self.clusters.on_resolved(token, result, now()),
                    Completed::Checked(token, result, connection) => {
                        self.clusters.on_checked(token, result, connection, now());
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "a resolution or health check panicked");
                match self.started.remove(&error.id()) {
                    Some(Started::Resolving(token)) => {
                        let panicked = ResolveError("the resolver panicked".to_owned());
                        self.clusters.on_resolved(token, Err(panicked), now());
                    }
                    Some(Started::Checking(token)) => {
                        self.clusters
                            .on_checked(token, CheckResult::NetworkFailure, None, now());
                    }
                    None => {}
                }
            }
        }
    }

    fn start(&mut self, action: Action) {
        let (task, started) = match action {
            Action::Resolve {
                token,
                host,
                family,
                resolver,
            } => {
                let resolving = self.resolver.resolve(host, family, resolver.as_deref());
                let task = self
                    .tasks
                    .spawn(async move { Completed::Resolved(token, resolving.await) });
                (task, Started::Resolving(token))
            }
            Action::Check { token, request } => {
                let checking = self.checker.check(*request);
                let task = self.tasks.spawn(async move {
                    let (result, connection) = checking.await;
                    Completed::Checked(token, result, connection)
                });
                (task, Started::Checking(token))
            }
        };
        self.started.insert(task.id(), started);
    }
}

/// The runtime's clock, so that a paused one is followed.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
