//! Clusters joined to the network: resolutions and health checks as tasks of the control thread.

use std::sync::Arc;
use std::time::Instant;

use config::Config;
use tokio::task::JoinSet;

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
                Some(completed) = self.tasks.join_next() => match completed {
                    Ok(Completed::Resolved(token, result)) => self.clusters.on_resolved(token, result, now()),
                    Ok(Completed::Checked(token, result, connection)) => {
                        self.clusters.on_checked(token, result, connection, now());
                    }
                    Err(error) => tracing::error!(%error, "a resolution or health check ended unexpectedly"),
                },
            }
        }
    }

    fn start(&mut self, action: Action) {
        match action {
            Action::Resolve { token, host, family } => {
                let resolving = self.resolver.resolve(host, family);
                self.tasks
                    .spawn(async move { Completed::Resolved(token, resolving.await) });
            }
            Action::Check { token, request } => {
                let checking = self.checker.check(*request);
                self.tasks.spawn(async move {
                    let (result, connection) = checking.await;
                    Completed::Checked(token, result, connection)
                });
            }
        }
    }
}

/// The runtime's clock, so that a paused one is followed.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
