//! The running control plane: source to model to snapshot to streams.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::ads::Ads;
use crate::ca::CaError;
use crate::ca::identities::Identities;
use crate::ca::root::Authority;
use crate::compile::Snapshot;
use crate::model::{MeshSettings, build};
use crate::objects::Fault;
use crate::source::{ObjectSet, directory};
use crate::status::proxies::Proxies;
use crate::status::report::Report;
use crate::status::server;
use crate::validate::Validator;

/// How often a connection that says nothing is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long streams have to end when the control plane does.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of objects.
    pub config: PathBuf,
    /// The directory of what must survive a restart: the root.
    pub state: PathBuf,
    /// Where to serve ADS; a loopback address.
    pub listen: SocketAddr,
    /// Where to serve the status report; a loopback address.
    pub status_listen: SocketAddr,
    /// What holds for the mesh.
    pub settings: MeshSettings,
    /// How long a certificate is valid; it is renewed at about half of that.
    pub certificate_lifetime: Duration,
}

/// Why the control plane does not start.
#[derive(Debug)]
pub enum ServeError {
    /// The address is not a loopback address.
    NotLoopback(SocketAddr),
    /// The directory of objects cannot be read.
    Config(PathBuf, io::Error),
    /// The authority cannot work.
    Ca(CaError),
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "{address} is not a loopback address: proxies are not authenticated yet, and whoever connects gets the \
                 certificate of the node it claims to be"
            ),
            Self::Config(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Ca(error) => error.fmt(f),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// A control plane that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Running {
    /// Where ADS is served.
    pub ads_address: SocketAddr,
    /// Where the status report is served.
    pub status_address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    /// Ends when the last stream did.
    ads: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

impl Running {
    /// Ends every stream and the listeners.
    pub async fn shut_down(mut self) {
        for task in self.others.drain(..) {
            task.abort();
        }
        if let Some(stop) = self.stop.take() {
            // The server may have failed already.
            let _ = stop.send(());
        }
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, &mut self.ads).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ads.abort();
        for task in &self.others {
            task.abort();
        }
    }
}

/// Starts the control plane.
///
/// # Errors
/// See [`ServeError`]. Faults of files are no errors: they are told, and what is good is
/// served.
pub async fn start(options: Options, validator: Arc<dyn Validator>) -> Result<Running, ServeError> {
    let ads_listener = bind(options.listen).await?;
    let status_listener = bind(options.status_listen).await?;
    let config_error = |error| ServeError::Config(options.config.clone(), error);
    let ads_address = ads_listener.local_addr().map_err(config_error)?;
    let status_address = status_listener.local_addr().map_err(config_error)?;
    let authority = Authority::open(&options.state, &options.settings.trust_domain, SystemTime::now());
    let authority = authority.map_err(ServeError::Ca)?;
    let identities = Identities::new(authority, options.settings.clone(), options.certificate_lifetime);
    let identities = Arc::new(identities);
    let mut objects = directory::watch(options.config.clone()).await.map_err(config_error)?;

    let told = Arc::new(Mutex::new(Told::default()));
    let first = Arc::clone(&objects.borrow_and_update());
    let first = publish(&first, &options.settings, &validator, None, &told);
    let (publisher, snapshots) = watch::channel(first);
    let proxies = Proxies::new();
    let ads = Ads::new(snapshots, Arc::clone(&identities), Arc::clone(&proxies));

    let settings = options.settings.clone();
    let told_by_compiler = Arc::clone(&told);
    let compiler = tokio::spawn(async move {
        while objects.changed().await.is_ok() {
            let set = Arc::clone(&objects.borrow_and_update());
            let before = Arc::clone(&publisher.borrow());
            let (settings, validator, told) = (settings.clone(), Arc::clone(&validator), Arc::clone(&told_by_compiler));
            // A large mesh takes a while: streams go on meanwhile.
            let compiled =
                tokio::task::spawn_blocking(move || publish(&set, &settings, &validator, Some(&before), &told));
            match compiled.await {
                Ok(snapshot) => {
                    publisher.send_replace(snapshot);
                }
                Err(error) => tracing::error!(%error, "compilation failed; the last snapshot stays in force"),
            }
        }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(ads.into_service())
        .serve_with_incoming_shutdown(TcpIncoming::from(ads_listener).with_nodelay(Some(true)), async move {
            // Dropped without a word means the same.
            let _ = stopped.await;
        });
    let ads = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the ADS server ended");
        }
    });
    let make_report: server::MakeReport = Arc::new(move || report(&proxies, &told));
    let status = tokio::spawn(server::serve(status_listener, make_report));
    let renewals = tokio::spawn(identities.keep_renewed());
    tracing::warn!("development mode: a node on this machine gets the identity it claims, without proof");
    tracing::info!(ads = %ads_address, status = %status_address, config = %options.config.display(), "serving");
    Ok(Running {
        ads_address,
        status_address,
        stop: Some(stop),
        ads,
        others: vec![compiler, status, renewals],
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    TcpListener::bind(address)
        .await
        .map_err(|error| ServeError::Listen(address, error))
}

/// What there is to tell about the objects in force.
#[derive(Debug, Default)]
struct Told {
    faults: Vec<Fault>,
    notes: Vec<Fault>,
    withheld: Vec<String>,
}

/// Compiles a set of objects, and logs what is newly wrong.
fn publish(
    set: &ObjectSet,
    settings: &MeshSettings,
    validator: &Arc<dyn Validator>,
    before: Option<&Snapshot>,
    told: &Mutex<Told>,
) -> Arc<Snapshot> {
    let mesh = Arc::new(build(&set.objects, settings));
    let snapshot = Arc::new(Snapshot::new(Arc::clone(&mesh), Arc::clone(validator), before));
    let now = Told {
        faults: set.faults.clone(),
        notes: set.notes.iter().chain(&mesh.notes).cloned().collect(),
        withheld: snapshot.withheld().iter().map(ToString::to_string).collect(),
    };
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    for fault in new_among(&now.faults, &told.faults) {
        tracing::error!("{fault}; the last good version stays in force");
    }
    for note in new_among(&now.notes, &told.notes) {
        tracing::warn!("{note}");
    }
    for withheld in now.withheld.iter().filter(|withheld| !told.withheld.contains(withheld)) {
        tracing::error!("not served, since the proxy would refuse it: {withheld}");
    }
    if now.faults.is_empty() && !told.faults.is_empty() {
        tracing::info!("all files are good again");
    }
    tracing::info!(
        services = mesh.services.len(),
        workloads = mesh.workloads.len(),
        faults = now.faults.len(),
        "mesh compiled"
    );
    *told = now;
    snapshot
}

fn new_among<'a>(now: &'a [Fault], before: &[Fault]) -> impl Iterator<Item = &'a Fault> {
    let before: HashSet<String> = before.iter().map(ToString::to_string).collect();
    now.iter().filter(move |fault| !before.contains(&fault.to_string()))
}

fn report(proxies: &Proxies, told: &Mutex<Told>) -> Report {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    Report {
        proxies: proxies.report(),
        faults: told.faults.clone(),
        notes: told.notes.clone(),
        withheld: told.withheld.clone(),
    }
}
