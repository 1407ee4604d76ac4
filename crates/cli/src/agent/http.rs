//! Metrics by HTTP, for a scraper on the same machine.

use super::metrics::Metrics;
use super::socket;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The most bytes of a request.
const LONGEST: usize = 8 << 10;
/// So many are attended to at a time.
const MOST: usize = 64;
/// Of a thread that attends to one.
const STACK: usize = 128 << 10;
/// How long it waits where it has run out of something.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a scraper may take to ask, and for each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whoever has connected.
type Asker = Box<dyn Stream>;

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Answers whoever asks at `address`, on threads of its own: a loopback address, or the path of a socket.
///
/// # Errors
/// It is neither, or not free.
pub(super) fn offer(address: &str, metrics: Arc<Metrics>) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot offer metrics at {address}: {error}");
    let next: Box<dyn FnMut() -> io::Result<Asker> + Send> = if address.contains('/') {
        let listener: UnixListener = socket::bind(Path::new(address)).map_err(failed)?;
        Box::new(move || {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream))
        })
    } else {
        let parsed: Result<SocketAddr, _> = address.parse();
        let at = parsed
            .map_err(|_| format!("`{address}` is neither an address and port nor the path of a socket"))?;
        if !at.ip().is_loopback() {
            return Err(format!(
                "{address} can be reached by others: metrics are offered at loopback addresses only"
            ));
        }
        let listener = TcpListener::bind(at).map_err(failed)?;
        Box::new(move || {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream))
        })
    };
    let thread = std::thread::Builder::new().name("metrics".into());
    thread.spawn(move || for_ever(next, &metrics)).map(drop).map_err(failed)
}

/// Everybody on a thread of their own: who connects and says nothing, as any program of the machine can, holds up nobody.
fn for_ever(mut next: impl FnMut() -> io::Result<Asker>, metrics: &Arc<Metrics>) {
    let attended = Arc::new(AtomicUsize::new(0));
    loop {
        // Without descriptors or threads it does not get better by hurrying.
        if attended.load(Ordering::Relaxed) >= MOST {
            std::thread::sleep(PAUSE);
            continue;
        }
        let Ok(stream) = next() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        attended.fetch_add(1, Ordering::Relaxed);
        let (metrics, ends) = (Arc::clone(metrics), Arc::clone(&attended));
        let thread = std::thread::Builder::new().name("scraper".into()).stack_size(STACK);
        let started = thread.spawn(move || {
            // Who asks and goes away is nobody's business.
            let _ = answer(&metrics, stream);
            ends.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            attended.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Answers one request.
fn answer(metrics: &Metrics, mut stream: impl Read + Write) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < LONGEST
    {
        match stream.read(&mut buffer)? {
            0 => break,
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let (status, body) = match request {
        _ if request.starts_with(b"GET /metrics ") => ("200 OK", metrics.text()),
        _ if request.starts_with(b"GET ") => ("404 Not Found", "the metrics are at /metrics\n".into()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
