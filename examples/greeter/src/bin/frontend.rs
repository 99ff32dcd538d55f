//! `frontend`: the demo's client. It drives calls at a steady pace, never retries,
//! and counts every answer and every failure.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use greeter::api::greeter_client::GreeterClient;
use greeter::api::{HelloReply, HelloRequest};
use greeter::tally::{Outcome, Tally};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};

/// Drives gRPC traffic at a greeter and counts what comes back; retries nothing.
///
/// Prints one JSON object per line: a running total every --report-every, and the
/// final one at the end (of --requests or --duration, or on SIGTERM or Ctrl-C).
/// Exit code: 0, or 1 if --fail-on-error is given and any call failed.
#[derive(Parser, Debug, Clone)]
#[command(name = "frontend", disable_version_flag = true)]
struct Arguments {
    /// Where to connect: behind a sidecar, its outbound listener.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:50051")]
    target: String,

    /// The service called, as `:authority` [default: the target].
    #[arg(long, value_name = "HOST[:PORT]")]
    authority: Option<String>,

    /// The shape of the calls.
    #[arg(long, value_enum, default_value_t = Shape::Mixed)]
    shape: Shape,

    /// Calls started per second; 0 starts the next when one ends.
    #[arg(long, value_name = "N", default_value_t = 100)]
    rate: u32,

    /// At most this many calls at once.
    #[arg(long, value_name = "N", default_value_t = 64)]
    concurrency: u32,

    /// HTTP/2 connections the calls are spread over.
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: u32,

    /// Stop after this many calls.
    #[arg(long, value_name = "N")]
    requests: Option<u64>,

    /// Stop after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,

    /// How long the server holds each call before it answers, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u32,

    /// Messages per streaming call.
    #[arg(long, value_name = "N", default_value_t = 5)]
    messages: u32,

    /// Deadline of each call in milliseconds, sent as `grpc-timeout`.
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,

    /// How often a running total is printed, in milliseconds; 0 prints only the last.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    report_every: u64,

    /// Exit 1 if any call failed.
    #[arg(long)]
    fail_on_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// One request, one answer.
    Unary,
    /// One request, several answers.
    Stream,
    /// Several requests, an answer to each.
    Chat,
    /// Eight unary calls, then one stream and one chat.
    Mixed,
}

impl Shape {
    fn of_call(self, number: u64) -> Self {
        match self {
            Self::Mixed => match number % 10 {
                8 => Self::Stream,
                9 => Self::Chat,
                _ => Self::Unary,
            },
            other => other,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match drive(arguments.clone()).await {
        Ok(tally) if arguments.fail_on_error && tally.failures() > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "frontend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn drive(arguments: Arguments) -> Result<Tally, Box<dyn Error>> {
    let clients = connect(&arguments)?;
    let tally = Arc::new(Mutex::new(Tally::default()));
    let arguments = Arc::new(arguments);
    let slots = Arc::new(Semaphore::new(arguments.concurrency.max(1) as usize));
    let mut terminate = signal(SignalKind::terminate())?;
    let end = arguments.duration.map(Duration::from_secs_f64);
    let stop = async move {
        let elapsed = async {
            match end {
                Some(end) => tokio::time::sleep(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = elapsed => {}
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let report = tokio::spawn(report(Arc::clone(&tally), arguments.report_every));
    let all = start_calls(&arguments, &clients, &slots, &tally);
    tokio::select! {
        () = all => {}
        () = stop => {}
    }
    // Every call has ended when all the slots are free again.
    let _ = slots.acquire_many(arguments.concurrency.max(1)).await;
    report.abort();
    let tally = locked(&tally).clone();
    print(&tally, true);
    Ok(tally)
}

fn connect(arguments: &Arguments) -> Result<Vec<GreeterClient<Channel>>, Box<dyn Error>> {
    let authority = arguments.authority.as_ref().unwrap_or(&arguments.target);
    let origin: Uri = format!("http://{authority}").parse()?;
    let endpoint = Endpoint::from_shared(format!("http://{}", arguments.target))?
        .origin(origin)
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true);
    Ok((0..arguments.connections.max(1))
        .map(|_| GreeterClient::new(endpoint.connect_lazy()))
        .collect())
}

/// Starts calls at the pace asked for, until there were enough of them.
async fn start_calls(
    arguments: &Arc<Arguments>,
    clients: &[GreeterClient<Channel>],
    slots: &Arc<Semaphore>,
    tally: &Arc<Mutex<Tally>>,
) {
    let mut pace = (arguments.rate > 0).then(|| {
        let period = Duration::from_secs(1) / arguments.rate;
        let mut pace = tokio::time::interval(period);
        // A slow server slows the pace; it does not make a burst afterwards.
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        pace
    });
    for (number, client) in (0..arguments.requests.unwrap_or(u64::MAX)).zip(clients.iter().cycle()) {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            return;
        };
        let (arguments, client, tally) = (Arc::clone(arguments), client.clone(), Arc::clone(tally));
        tokio::spawn(async move {
            let began = Instant::now();
            let outcome = call(&arguments, client, arguments.shape.of_call(number)).await;
            locked(&tally).record(outcome, began.elapsed());
            drop(slot);
        });
    }
    let _ = slots.acquire_many(arguments.concurrency.max(1)).await;
}

async fn call(arguments: &Arguments, mut client: GreeterClient<Channel>, shape: Shape) -> Outcome {
    let message = HelloRequest {
        name: "frontend".to_owned(),
        delay_ms: arguments.delay_ms,
        count: arguments.messages,
    };
    let answer = match shape {
        Shape::Stream => match client.say_hello_stream(with_deadline(arguments, message)).await {
            Ok(answers) => last_of(answers.into_inner(), arguments.messages).await,
            Err(status) => Err(status),
        },
        Shape::Chat => {
            let requests = repeated(message, arguments.messages);
            match client.chat(with_deadline(arguments, requests)).await {
                Ok(answers) => last_of(answers.into_inner(), arguments.messages).await,
                Err(status) => Err(status),
            }
        }
        Shape::Unary | Shape::Mixed => client
            .say_hello(with_deadline(arguments, message))
            .await
            .map(tonic::Response::into_inner),
    };
    match answer {
        Ok(reply) => Outcome::Answered {
            backend: format!("{} {}", reply.version, reply.backend),
            caller: reply.caller,
        },
        Err(status) => Outcome::Failed {
            code: status.code(),
            message: status.message().to_owned(),
        },
    }
}

fn with_deadline<T>(arguments: &Arguments, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(deadline) = arguments.deadline_ms {
        request.set_timeout(Duration::from_millis(deadline));
    }
    request
}

fn repeated(message: HelloRequest, times: u32) -> impl Stream<Item = HelloRequest> {
    tokio_stream::iter((0..times.max(1)).map(move |_| message.clone()))
}

/// The last answer of a stream, which must have had all of its answers, in order.
async fn last_of(mut answers: Streaming<HelloReply>, expected: u32) -> Result<HelloReply, Status> {
    let mut last = None;
    let mut count = 0;
    while let Some(reply) = answers.next().await {
        let reply = reply?;
        if reply.index != count {
            return Err(Status::new(
                Code::DataLoss,
                format!("answer {} arrived where {count} was due", reply.index),
            ));
        }
        count += 1;
        last = Some(reply);
    }
    match last {
        Some(reply) if count == expected.max(1) => Ok(reply),
        _ => Err(Status::new(
            Code::DataLoss,
            format!("{count} of {} answers arrived", expected.max(1)),
        )),
    }
}

async fn report(tally: Arc<Mutex<Tally>>, every_ms: u64) {
    if every_ms == 0 {
        return;
    }
    let mut interval = tokio::time::interval(Duration::from_millis(every_ms));
    interval.tick().await;
    loop {
        interval.tick().await;
        let now = locked(&tally).clone();
        print(&now, false);
    }
}

fn print(tally: &Tally, last: bool) {
    let mut line = tally.to_json();
    line["final"] = last.into();
    let mut stdout = std::io::stdout().lock();
    // A reader that went away does not stop the traffic.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// A tally is whole after every statement: a panic elsewhere does not spoil it.
fn locked(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
