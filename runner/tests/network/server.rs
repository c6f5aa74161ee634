//! A small HTTP server that keeps every request it gets, byte for byte.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    files: Arc<Mutex<Option<PathBuf>>>,
}

impl Server {
    pub(crate) fn start(address: IpAddr) -> Self {
        Self::with(address, None)
    }

    /// One that speaks TLS.
    pub(crate) fn secured(address: IpAddr, secured: ServerConfig) -> Self {
        Self::with(address, Some(Arc::new(secured)))
    }

    fn with(address: IpAddr, secured: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(SocketAddr::new(address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, files) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let (seen, root) = (Arc::clone(&requests), Arc::clone(&files));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, root, secured) = (Arc::clone(&seen), Arc::clone(&root), secured.clone());
                let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                std::thread::spawn(move || match secured {
                    None => serve(stream, &seen, &root),
                    Some(secured) => {
                        let connection = ServerConnection::new(secured).unwrap();
                        serve(StreamOwned::new(connection, stream), &seen, &root);
                    }
                });
            }
        });
        Self { port, requests, files }
    }

    /// Serves the files below it from now on.
    pub(crate) fn give(&self, root: PathBuf) {
        *self.files.lock().unwrap() = Some(root);
    }

    /// Everything that has arrived, each connection's bytes in one.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: impl Read + Write, seen: &Mutex<Vec<String>>, files: &Mutex<Option<PathBuf>>) {
    let place = {
        let mut seen = seen.lock().unwrap();
        seen.push(String::new());
        seen.len() - 1
    };
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let mut answered = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        all.extend(&buffer[..count]);
        seen.lock().unwrap()[place] = String::from_utf8_lossy(&all).into_owned();
        // It answers every request of a connection, as a server would that keeps it.
        while let Some((length, path)) = next_request(&all[answered..]) {
            answered += length;
            let file = files.lock().unwrap().as_ref().map(|root| root.join(path.trim_start_matches('/')));
            let body = match file {
                Some(file) => std::fs::read(file).ok(),
                None => Some(format!("here is {path}\n").into_bytes()),
            };
            let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
            let body = body.unwrap_or_default();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n", body.len());
            if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    }
}

/// The length of the request at the beginning, and its path.
fn next_request(bytes: &[u8]) -> Option<(usize, String)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
    let path = head.split(' ').nth(1)?.split('?').next()?.to_owned();
    let whole = if head.contains("chunked") {
        end + bytes[end..].windows(5).position(|window| window == b"0\r\n\r\n")? + 5
    } else {
        end + length
    };
    (bytes.len() >= whole).then_some((whole, path))
}
