//! Exporters with real collectors: sockets that are slow, deaf, gone and back. Nothing is lost, and nobody waits.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use palisade_audit::export::{ExportSettings, Exporters, Otlp, Syslog, SyslogBody, TlsFiles};
use palisade_audit::{Audit, AuditSettings as Record, Closed, Digest, Id, Start, Sync, Term};
use serde_json::Value;

/// How long anything may take that has to happen.
const DEADLINE: Duration = Duration::from_secs(60);

fn begin(directory: &Path, rotate: u64) -> Audit {
    let start = Start::new("test", Term::new("test"), Digest::ZERO, Digest::ZERO);
    let mut settings = Record::new(directory.to_owned(), Sync::None);
    settings.rotate_size = rotate;
    Audit::open(&settings, start).expect("a record")
}

fn append(audit: &Audit, records: u64) -> u64 {
    let closed = || Closed { session: Id::new("s1").unwrap(), reason: Term::new("asked") };
    (0..records).map(|_| audit.append_blocking(closed()).expect("on record").seq).fold(0, |_, seq| seq)
}

fn to_syslog(target: &str) -> ExportSettings {
    ExportSettings {
        otlp: None,
        syslog: Some(Syslog::new(target.parse().unwrap(), SyslogBody::Record, &TlsFiles::default()).unwrap()),
    }
}

fn to_otlp(address: SocketAddr) -> ExportSettings {
    let endpoint = format!("http://{address}/v1/logs").parse().unwrap();
    ExportSettings { otlp: Some(Otlp::new(endpoint, &TlsFiles::default()).unwrap()), syslog: None }
}

fn seq_of(message: &str) -> u64 {
    let (_, record) = message.split_once('\u{feff}').expect("a text in UTF-8");
    serde_json::from_str::<Value>(record).unwrap().get("seq").unwrap().as_u64().unwrap()
}

/// One message by RFC 6587, octet counting. `None`: the other end is gone.
fn counted(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = Vec::new();
    reader.read_until(b' ', &mut length).ok()?;
    let length = std::str::from_utf8(&length).unwrap().trim_end().parse().ok()?;
    let mut message = vec![0; length];
    reader.read_exact(&mut message).ok()?;
    Some(String::from_utf8(message).unwrap())
}

/// Hands on what a collector gets until it hangs up: at once, so that the test waits for nothing else.
fn count(seen: &Receiver<u64>, counts: &mut BTreeMap<u64, u64>, last: u64) {
    let until = Instant::now() + DEADLINE;
    while !counts.contains_key(&last) || counts.len() < usize::try_from(last).unwrap() {
        let left = until.saturating_duration_since(Instant::now());
        match seen.recv_timeout(left) {
            Ok(seq) => *counts.entry(seq).or_default() += 1,
            Err(_) => panic!("{} of {last} came", counts.len()),
        }
    }
}

#[test]
fn each_of_ten_thousand_records_comes_though_the_collector_dies_twice() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), 300_000);
    let last = append(&audit, 10_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = mpsc::channel();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        // Two that read some and die with the rest unread in their buffers, then one that lives.
        for lives_for in [500, 3_000, usize::MAX] {
            let mut reader = BufReader::new(accepting.accept().unwrap().0);
            for _ in 0..lives_for {
                let Some(message) = counted(&mut reader) else { return };
                let _ = tell.send(seq_of(&message));
            }
        }
    });
    let exporters = Exporters::start(home.path(), &to_syslog(&format!("tcp://{address}"))).unwrap();
    let mut counts = BTreeMap::new();
    count(&seen, &mut counts, last);
    exporters.finish();
    assert!(home.path().read_dir().unwrap().count() > 5, "the chain has several files");
    // Only what was in doubt when a connection broke comes twice.
    let twice = counts.values().filter(|times| **times > 1).count();
    assert!(counts.values().all(|times| *times <= 3) && twice <= 2 * 6 * 256, "{twice}");

    // Another server goes on where this one was.
    let exporters = Exporters::start(home.path(), &to_syslog(&format!("tcp://{address}"))).unwrap();
    let next = append(&audit, 1);
    let mut reader = BufReader::new(listener.accept().unwrap().0);
    reader.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
    let mut seqs = Vec::new();
    while seqs.last() != Some(&next) {
        seqs.push(seq_of(&counted(&mut reader).expect("a message")));
    }
    assert!(seqs.len() <= 1 + 5 * 256, "{} of {next} came again", seqs.len());
    drop(reader);
    exporters.finish();
}

/// A collector that takes a connection and reads nothing, and none at all.
#[test]
fn nobody_waits_for_a_collector() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = tempfile::tempdir().unwrap();
    let target = format!("tcp://{}", deaf.local_addr().unwrap());
    let settings = ExportSettings { otlp: to_otlp(gone).otlp, ..to_syslog(&target) };
    let audit = begin(home.path(), 64 << 20);
    let exporters = Exporters::start(home.path(), &settings).unwrap();
    let _connection = deaf.accept().unwrap();
    // More than the socket's buffers take.
    assert!(append(&audit, 30_000) > 30_000);
    drop(exporters);
}

#[test]
fn datagrams_hold_one_message_each() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), 64 << 20);
    let last = append(&audit, 20);
    let socket = home.path().join("log");
    let unix = UnixDatagram::bind(&socket).unwrap();
    let exporters = Exporters::start(home.path(), &to_syslog(&format!("unix:{}", socket.display()))).unwrap();
    unix.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = vec![0; 1 << 16];
    for seq in 1..=last {
        let length = unix.recv(&mut buffer).expect("a message");
        assert_eq!(seq_of(std::str::from_utf8(buffer.get(..length).unwrap()).unwrap()), seq);
    }
    exporters.finish();
    // Over another transport it goes on behind those.
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(DEADLINE)).unwrap();
    let exporters = Exporters::start(home.path(), &to_syslog(&format!("udp://{}", udp.local_addr().unwrap()))).unwrap();
    let next = append(&audit, 1);
    let length = udp.recv(&mut buffer).expect("a message");
    assert_eq!(seq_of(std::str::from_utf8(buffer.get(..length).unwrap()).unwrap()), next);
    exporters.finish();
}

/// A collector that is overloaded, then gone in the middle of an answer, then refuses one record for good.
#[test]
fn otlp_is_tried_again_until_it_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), 64 << 20);
    let last = append(&audit, 700);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let poison = 300;
    let (tell, seen) = mpsc::channel();
    std::thread::spawn(move || {
        let mut before = ["503 Service Unavailable", "", "429 Too Many Requests"].into_iter();
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            while let Some(body) = posted(&mut reader) {
                let seqs = sequence(&body);
                let status =
                    before.next().unwrap_or_else(|| if seqs.contains(&poison) { "400 Bad Request" } else { "200 OK" });
                if status.is_empty() {
                    break;
                }
                if status == "200 OK" {
                    seqs.iter().for_each(|seq| tell.send(*seq).unwrap_or_default());
                }
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    let exporters = Exporters::start(home.path(), &to_otlp(address)).unwrap();
    let mut counts = BTreeMap::from([(poison, 0)]);
    count(&seen, &mut counts, last);
    exporters.finish();
    assert_eq!(counts.get(&poison), Some(&0), "it was never taken");
    assert!(counts.iter().all(|(seq, times)| *seq == poison || *times == 1), "{counts:?}");
}

fn posted(reader: &mut BufReader<TcpStream>) -> Option<Value> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn sequence(request: &Value) -> Vec<u64> {
    let records = request.pointer("/resourceLogs/0/scopeLogs/0/logRecords").unwrap().as_array().unwrap();
    let body = |record: &Value| record.pointer("/body/stringValue").unwrap().as_str().unwrap().to_owned();
    let seq = |text: String| serde_json::from_str::<Value>(&text).unwrap().get("seq").unwrap().as_u64().unwrap();
    records.iter().map(|record| seq(body(record))).collect()
}

/// What cannot be told any more is told to be missing; a cursor that is no cursor begins anew.
#[test]
fn what_is_gone_is_counted_and_a_broken_cursor_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), 3_000);
    append(&audit, 40);
    let mut files: Vec<_> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    std::fs::remove_file(files.first().unwrap()).unwrap();
    let cursor = home.path().join("export-syslog.cursor");
    std::fs::write(&cursor, "not a cursor").unwrap();
    let socket = home.path().join("log");
    let unix = UnixDatagram::bind(&socket).unwrap();
    unix.set_read_timeout(Some(DEADLINE)).unwrap();
    let exporters = Exporters::start(home.path(), &to_syslog(&format!("unix:{}", socket.display()))).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let length = unix.recv(&mut buffer).expect("a message");
    let first = seq_of(std::str::from_utf8(buffer.get(..length).unwrap()).unwrap());
    unix.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let until = Instant::now() + DEADLINE;
    let missed = loop {
        let text = std::fs::read(&cursor).unwrap();
        let missed = serde_json::from_slice::<Value>(&text).ok().and_then(|cursor| cursor.get("missed")?.as_u64());
        if missed.is_some() || Instant::now() > until {
            break missed;
        }
        // A full socket would hold it up.
        let _ = unix.recv(&mut buffer);
    };
    exporters.finish();
    assert!(first > 1, "{first}");
    assert_eq!(missed, Some(first - 1));
}
