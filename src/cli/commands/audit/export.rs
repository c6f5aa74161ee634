//! `audit export`: a copy of the record in a form for others.
//!
//! It holds what stands in the record, which has passed the redactor; whether that holds, `audit verify` says.

use std::fs::File;
use std::io::{self, BufRead as _, BufWriter, ErrorKind, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use palisade_audit::export::{self, Recording, SyslogBody};
use palisade_audit::{LiveFile, MAX_LINE, RecordLine, Selector};
use serde_json::Value;

use super::{FilterMatches, show};
use crate::cli::args::{AuditExport, ExportFormat};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

/// Records in one request of OpenTelemetry's.
const REQUEST: usize = 256;

/// What is written, and where.
struct Copy {
    to: Box<dyn Write>,
    form: Form,
}

enum Form {
    Ocsf,
    Asciicast(Recording),
    Otlp(Vec<RecordLine>),
    Syslog,
}

pub(crate) fn run(args: &AuditExport) -> Result<Exit, CliError> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    if args.format == ExportFormat::Asciicast && args.filter.session.is_none() {
        return Err(CliError::new(
            "a recording is of one session, and none is named",
            "give it with `--session`; `palisade audit show` lists them",
        ));
    }
    let filter = show::filter(&args.filter)?;
    let files = super::files(&path)?;
    let mut copy = Copy { to: output(args.output.as_deref())?, form: Form::of(args.format) };
    let (mut bad, mut met) = (0, FilterMatches::default());
    for files in files {
        let mut selector = Selector::new(filter.clone());
        for file in files {
            match copy.file(&file, &mut selector, |record| met.note(record, &filter)) {
                Ok(lines) => bad += lines,
                Err(CopyEnd::NobodyListens) => return Ok(Exit::Fine),
                Err(CopyEnd::Failed(trouble)) => return Err(trouble),
            }
        }
    }
    match copy.finish() {
        Ok(()) | Err(CopyEnd::NobodyListens) => {}
        Err(CopyEnd::Failed(trouble)) => return Err(trouble),
    }
    met.check(&path, &filter)?;
    if bad > 0 {
        report::complain(&format!("warning: {bad} lines are no records and not in the copy\n"));
        return Ok(Exit::Findings);
    }
    Ok(Exit::Fine)
}

fn output(file: Option<&Path>) -> Result<Box<dyn Write>, CliError> {
    let Some(path) = file else { return Ok(Box::new(BufWriter::new(io::stdout()))) };
    let made = File::options().create_new(true).write(true).mode(0o600).open(path);
    let made = made.map_err(|error| {
        let named = format!("`--output` names `{}`, which", path.display());
        match error.kind() {
            ErrorKind::AlreadyExists => {
                CliError::new(format!("{named} is there already"), "name a file that is not there yet")
            }
            ErrorKind::NotFound => CliError::from(config::unreadable("`--output`", path, &error)),
            _ => CliError::new(format!("{named} cannot be made: {error}"), ""),
        }
    })?;
    Ok(Box::new(BufWriter::new(made)))
}

/// Why no more is copied.
enum CopyEnd {
    NobodyListens,
    Failed(CliError),
}

impl From<io::Error> for CopyEnd {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::NobodyListens,
            _ => Self::Failed(CliError::new(
                format!("the copy cannot be written: {error}"),
                "make room, and begin again",
            )),
        }
    }
}

impl Form {
    fn of(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Ocsf => Self::Ocsf,
            ExportFormat::Asciicast => Self::Asciicast(Recording::default()),
            ExportFormat::Otlp => Self::Otlp(Vec::new()),
            ExportFormat::Syslog => Self::Syslog,
        }
    }
}

impl Copy {
    /// Copies what the selector keeps of a file. Returns how many lines are no records.
    fn file(&mut self, path: &Path, selector: &mut Selector, mut note: impl FnMut(&Value)) -> Result<u64, CopyEnd> {
        let unreadable =
            |error: io::Error| CopyEnd::Failed(CliError::new(format!("cannot read `{}`: {error}", path.display()), ""));
        let mut reader = LiveFile::open(path).map_err(unreadable)?;
        let (mut line, mut bad) = (Vec::new(), 0);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let chain = stem.split('_').next().unwrap_or_default().to_owned();
        loop {
            line.clear();
            if reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                return Ok(bad);
            }
            let Some(value) = super::record(&line).filter(|_| line.ends_with(b"\n")) else {
                bad += 1;
                continue;
            };
            note(&value);
            if selector.keeps(&value) {
                let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
                self.record(RecordLine { line, value, chain: chain.clone() })?;
            }
        }
    }

    fn record(&mut self, record: RecordLine) -> Result<(), CopyEnd> {
        match &mut self.form {
            Form::Ocsf => writeln!(self.to, "{}", export::ocsf_event(&record.value))?,
            Form::Asciicast(recording) => {
                if let Some(lines) = recording.add(&record.value) {
                    self.to.write_all(lines.as_bytes())?;
                }
            }
            Form::Otlp(waiting) => {
                waiting.push(record);
                if waiting.len() >= REQUEST {
                    writeln!(self.to, "{}", export::otlp_request(waiting))?;
                    waiting.clear();
                }
            }
            Form::Syslog => writeln!(self.to, "{}", export::syslog_message(&record, SyslogBody::Record))?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), CopyEnd> {
        if let Form::Otlp(waiting) = &self.form
            && !waiting.is_empty()
        {
            writeln!(self.to, "{}", export::otlp_request(waiting))?;
        }
        self.to.flush().map_err(CopyEnd::from)
    }
}
