//! The HTTP server of the admin endpoint: one thread, its own runtime.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use config::address::Address;
use config::string_matcher::StringMatcher;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SERVER};
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::access_log::{AdminLog, Entry};
use super::source::AdminSource;
use super::{Answer, body, routes};

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: u32 = 256;

/// How long the head of a request may take.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long answers may take to leave when the process ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Where and what is served.
#[derive(Debug, Clone)]
pub(crate) struct AdminSettings {
    pub(crate) address: Address,
    /// All paths when empty.
    pub(crate) allow_paths: Vec<StringMatcher>,
    /// The file that the address is written to (`--admin-address-path`).
    pub(crate) address_path: Option<PathBuf>,
    /// Where requests are logged.
    pub(crate) log: Arc<AdminLog>,
}

/// The running endpoint. Dropping it leaves it running; [`close`](Self::close) ends it.
#[derive(Debug)]
pub(crate) struct AdminServer {
    address: Address,
    close: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AdminServer {
    /// Listens, writes the address file, and serves on a thread of its own.
    ///
    /// # Errors
    /// The address cannot be listened on, or its file cannot be written.
    pub(crate) fn start(settings: AdminSettings, source: Arc<dyn AdminSource>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listener, address) = {
            let _inside = runtime.enter();
            listen(&settings.address)?
        };
        if let Some(path) = &settings.address_path {
            std::fs::write(path, address.to_string())?;
        }
        let (close, closed) = watch::channel(false);
        let served = Arc::new(Served {
            source,
            allow_paths: settings.allow_paths,
            log: settings.log,
        });
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve(listener, served, closed)))?;
        Ok(Self { address, close, thread })
    }

    /// The address that is listened on: with the port that the kernel chose when 0 was asked for.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Ends it: answers under way still leave.
    pub(crate) fn close(self) {
        // Without a receiver it has ended already.
        let _ = self.close.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the admin thread panicked");
        }
    }
}

fn listen(address: &Address) -> io::Result<(Listener, Address)> {
    match address {
        Address::Socket(address) => {
            let listener = bind(*address)?;
            let local = listener.local_addr()?;
            Ok((Listener::Tcp(TcpListener::from_std(listener)?), Address::Socket(local)))
        }
        Address::Pipe { path, mode } => {
            let listener = match path.strip_prefix('@') {
                Some(name) => {
                    use std::os::linux::net::SocketAddrExt as _;
                    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                    std::os::unix::net::UnixListener::bind_addr(&address)?
                }
                None => {
                    // What an earlier process left behind, as Envoy.
                    match std::fs::remove_file(&**path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                    let listener = std::os::unix::net::UnixListener::bind(&**path)?;
                    if *mode != 0 {
                        std::fs::set_permissions(&**path, std::fs::Permissions::from_mode(*mode))?;
                    }
                    listener
                }
            };
            listener.set_nonblocking(true)?;
            Ok((Listener::Unix(UnixListener::from_std(listener)?), address.clone()))
        }
        Address::Name { host, port } => {
            let message = format!("{host}:{port} is a name, expected an IP address");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

/// The standard library's listener sets SO_REUSEADDR, so that a restart does not wait for old connections.
fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What every connection needs.
struct Served {
    source: Arc<dyn AdminSource>,
    allow_paths: Vec<StringMatcher>,
    log: Arc<AdminLog>,
}

async fn serve(listener: Listener, served: Arc<Served>, mut closed: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let stream = tokio::select! {
            _ = closed.wait_for(|closed| *closed) => break,
            stream = accept(&listener) => stream,
        };
        let (stream, ends) = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(target: "remora::admin", %error, "cannot accept a connection");
                // Out of descriptors, as a rule: the queue keeps those who wait.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (served, mut closed) = (Arc::clone(&served), closed.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(Arc::clone(&served), ends, request));
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_READ_TIMEOUT);
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            let closing = async { drop(closed.wait_for(|closed| *closed).await) };
            let over = tokio::select! {
                _ = connection.as_mut() => true,
                () = closing => false,
            };
            if !over {
                connection.as_mut().graceful_shutdown();
                // How it ends is the client's affair.
                let _ = connection.await;
            }
            drop(permit);
        });
    }
    // All permits are back when all connections have ended.
    let _ = tokio::time::timeout(CLOSE_WITHIN, connections.acquire_many(MAX_CONNECTIONS)).await;
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Both ends of a TCP connection: who asks, and what was connected to.
#[derive(Clone, Copy, Default)]
struct Ends {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
}

async fn accept(listener: &Listener) -> io::Result<(Box<dyn Stream>, Ends)> {
    Ok(match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            let ends = Ends {
                peer: Some(peer),
                local: stream.local_addr().ok(),
            };
            (Box::new(stream), ends)
        }
        Listener::Unix(listener) => (Box::new(listener.accept().await?.0), Ends::default()),
    })
}

async fn respond(
    served: Arc<Served>,
    ends: Ends,
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>>, Infallible> {
    // gRPC beside the paths for people: any server of the xDS family offers its client's view this way.
    if request.uri().path().starts_with(xds::csds::PATH_PREFIX)
        && routes::is_allowed(&served.allow_paths, request.uri().path())
        && let Some(client) = served.source.xds_client()
    {
        return Ok(xds::csds::respond(client, request).await.map(Either::Right));
    }
    let (began, since) = (SystemTime::now(), Instant::now());
    let (head, body) = request.into_parts();
    let (method, uri) = (&head.method, &head.uri);
    let form = body::form(&head.headers, body).await;
    let query = uri.query().unwrap_or_default();
    let answer = routes::answer(
        &*served.source,
        &served.allow_paths,
        method,
        uri.path(),
        query,
        form.as_deref(),
    );
    tracing::debug!(target: "remora::admin", %method, path = uri.path(), status = answer.status.as_u16(), "request complete");
    let sent = answer.body.len();
    let response = response(answer);
    served.log.write(&Entry {
        began,
        since,
        peer: ends.peer,
        local: ends.local,
        method,
        uri,
        version: head.version,
        request: &head.headers,
        status: response.status(),
        response: response.headers(),
        received: form.map_or(0, |form| form.len() as u64),
        sent: sent as u64,
    });
    Ok(response.map(Either::Left))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(SERVER, HeaderValue::from_static("remora"));
    response
}
