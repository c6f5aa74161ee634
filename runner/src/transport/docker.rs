//! Containers of an engine on this machine: looked at, made where the settings say so, and used to start shells.
//!
//! A container's name is resolved once, and only its id used from then on. One that is made for a session has no network, no
//! capabilities, a root that cannot be written, and limits; it is removed when the session ends. It lives by its input, of which this
//! process holds the other end: the engine removes it once that is gone, whatever became of the process.

mod terminal;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, MountPoint};
use bollard::query_parameters::{AttachContainerOptions, ListContainersOptions, RemoveContainerOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_core::Stream;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::server_instance::Instance;
use super::wire::{Ending, Far, Mouth, Piece, Start, Wire};
use crate::shell::Typed;
use crate::target::{ContainerSource, DockerTarget, TargetError};

/// How long the engine may take to answer one request.
const ANSWER: u64 = 60;

/// How long the engine may take to say that it is there.
const PING: Duration = Duration::from_secs(5);

/// By which a container that was made for a session is known, with the server that made it behind it.
const LABEL: &str = "palisade.server";

/// A program in a container that does nothing and ends with its input.
const KEEPER: [&str; 1] = ["cat"];

/// A container, or what one would be made of, before policy has been asked.
pub(crate) struct Met {
    engine: Docker,
    /// The id of the container, or none if it is still to be made.
    id: Option<String>,
    /// The image by its digest.
    pub(crate) image: String,
    /// It has the host's privileges, namespaces or control socket.
    pub(crate) privileged: bool,
}

/// A running container that is ours to use.
pub(crate) struct Container {
    engine: Docker,
    socket: PathBuf,
    /// Its id.
    pub(crate) id: String,
    user: String,
    /// It was made for this session, and is still to be removed.
    made: AtomicBool,
    /// What such a one lives by.
    life: Option<Life>,
}

/// The other end of a container's input: held, and never used.
struct Life(#[expect(dead_code, reason = "held for its Drop")] Mutex<AttachContainerResults>);

impl Met {
    /// Looks at what the settings name.
    ///
    /// # Errors
    /// If the engine does not answer, or there is no such container or image, or the container does not run.
    pub(crate) async fn meet(target: &DockerTarget) -> Result<Self, TargetError> {
        let down = || TargetError::EngineDown { socket: target.socket.clone() };
        let socket = target.socket.to_str().ok_or_else(down)?;
        let engine = Docker::connect_with_unix(socket, ANSWER, API_DEFAULT_VERSION).map_err(|_| down())?;
        let engine = tokio::time::timeout(PING, engine.negotiate_version()).await;
        let engine = engine.map_err(|_| down())?.map_err(|_| down())?;
        match &target.source {
            ContainerSource::Container(name) => {
                let found = engine.inspect_container(name, None).await.map_err(|error| match error {
                    Error::DockerResponseServerError { status_code: 404, .. } => {
                        TargetError::NoContainer { name: name.clone() }
                    }
                    error => refused(&error),
                })?;
                if found.state.as_ref().and_then(|state| state.running) != Some(true) {
                    return Err(TargetError::NotRunning { name: name.clone() });
                }
                let id = found.id.clone().ok_or_else(|| TargetError::NoContainer { name: name.clone() })?;
                let image = digest(&engine, found.image.as_deref().unwrap_or_default(), &called(&found)).await;
                Ok(Self { engine, id: Some(id), image, privileged: is_privileged(&found) })
            }
            ContainerSource::Image(name) => {
                let found = engine.inspect_image(name).await.map_err(|error| match error {
                    Error::DockerResponseServerError { status_code: 404, .. } => {
                        TargetError::NoImage { name: name.clone() }
                    }
                    error => refused(&error),
                })?;
                let id = found.id.unwrap_or_default();
                let image = digest(&engine, &id, name).await;
                sweep(&engine).await;
                Ok(Self { engine, id: None, image, privileged: false })
            }
        }
    }

    /// The container, made now if it has to be.
    ///
    /// # Errors
    /// If the engine makes or starts none.
    pub(crate) async fn enter(self, target: &DockerTarget) -> Result<Container, TargetError> {
        let Self { engine, id, image, .. } = self;
        let (user, socket) = (target.user.clone(), target.socket.clone());
        if let Some(id) = id {
            return Ok(Container { engine, socket, id, user, made: AtomicBool::new(false), life: None });
        }
        // The image that policy was asked about, whatever its name means by now.
        let image = image.rsplit_once('@').map_or(image.clone(), |(_, digest)| digest.to_owned());
        let ContainerSource::Image(_) = &target.source else {
            return Err(TargetError::NoContainer { name: image });
        };
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: Some(KEEPER.map(str::to_owned).into()),
            cmd: Some(Vec::new()),
            user: (!user.is_empty()).then(|| user.clone()),
            network_disabled: Some(true),
            attach_stdin: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            labels: Some(HashMap::from([(LABEL.to_owned(), Instance::own().to_string())])),
            host_config: Some(confined(target)),
            ..ContainerCreateBody::default()
        };
        let made = engine.create_container(None, body).await.map_err(|error| refused(&error))?;
        let mut container = Container { engine, socket, id: made.id, user, made: AtomicBool::new(true), life: None };
        match container.begin().await {
            Ok(life) => container.life = Some(life),
            Err(error) => {
                container.close().await;
                return Err(refused(&error));
            }
        }
        Ok(container)
    }
}

/// Removes what servers that are gone could not: one that ended between making a container and taking its input.
async fn sweep(engine: &Docker) {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
    // Whoever cannot list them will be told so by what comes next.
    for found in engine.list_containers(Some(options)).await.unwrap_or_default() {
        let label = found.labels.as_ref().and_then(|labels| labels.get(LABEL));
        if let (Some(true), Some(id)) = (label.map(|label| Instance::is_gone(label)), &found.id) {
            remove(engine, id).await;
        }
    }
}

/// What a container that is made for a session is held to.
fn confined(target: &DockerTarget) -> HostConfig {
    let bytes = i64::try_from(target.memory).unwrap_or(i64::MAX);
    HostConfig {
        network_mode: Some("none".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(rooms(target)),
        pids_limit: Some(i64::try_from(target.processes).unwrap_or(i64::MAX)),
        memory: Some(bytes),
        memory_swap: Some(bytes),
        privileged: Some(false),
        init: Some(true),
        auto_remove: Some(true),
        ..HostConfig::default()
    }
}

/// What can be written in it, in memory: what commands need, and what its guard is executed from, which those cannot reach.
fn rooms(target: &DockerTarget) -> HashMap<String, String> {
    let room = |path: &str, more: &str| (path.to_owned(), format!("rw,nosuid,nodev,mode=1777{more}"));
    let guard = target.guard.as_ref().map(|guard| room(guard.as_str(), ",exec"));
    [room("/tmp", "")].into_iter().chain(guard).collect()
}

/// `name@sha256:…`. The engine's own id of an image is the digest of its configuration, which names all of its layers.
async fn digest(engine: &Docker, image: &str, name: &str) -> String {
    if image.starts_with("sha256:") {
        return format!("{}@{image}", name.split('@').next().unwrap_or(name));
    }
    let found = engine.inspect_image(image).await.ok().and_then(|found| found.id);
    found.map_or_else(String::new, |id| format!("{name}@{id}"))
}

fn called(found: &ContainerInspectResponse) -> String {
    found.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default()
}

/// Whether it has what makes it the host: what the engine does not tell counts against it.
fn is_privileged(found: &ContainerInspectResponse) -> bool {
    let Some(host) = &found.host_config else { return true };
    let is_hosts = |mode: &Option<String>| mode.as_deref().is_some_and(|mode| mode == "host");
    let namespaces = [&host.network_mode, &host.pid_mode, &host.ipc_mode, &host.uts_mode, &host.userns_mode];
    let powerful = |capability: &String| {
        let name = capability.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        matches!(
            name,
            "ALL"
                | "SYS_ADMIN"
                | "SYS_MODULE"
                | "SYS_RAWIO"
                | "SYS_PTRACE"
                | "DAC_READ_SEARCH"
                | "BPF"
                | "SYS_BOOT"
                | "NET_ADMIN"
        )
    };
    let unconfined = |option: &String| option.contains("unconfined") || option.contains("disable");
    // The engine's socket, and directories of which it is one file.
    let controls = |mount: &MountPoint| {
        mount.source.as_deref().is_none_or(|source| {
            let source = source.trim_end_matches('/');
            source.ends_with(".sock")
                || matches!(source, "" | "/run" | "/var" | "/var/run" | "/proc" | "/sys" | "/dev" | "/etc" | "/root")
        }) && mount.typ.as_ref().is_none_or(|typ| *typ == "bind")
    };
    host.privileged != Some(false)
        || namespaces.into_iter().any(is_hosts)
        || host.cap_add.iter().flatten().any(powerful)
        || host.security_opt.iter().flatten().any(unconfined)
        || host.devices.iter().flatten().next().is_some()
        || found.mounts.iter().flatten().any(controls)
}

/// Engines differ in where they tell that there is no such program: some here, some in what the program would say.
fn not_started(error: &Error) -> TargetError {
    match refused(error) {
        TargetError::Engine { why } if why.contains("executable file not found") || why.contains("no such file") => {
            TargetError::NoBash
        }
        error => error,
    }
}

/// Gives the program its input, as long as it takes any, and hangs up behind that.
async fn give(mut input: Pin<Box<dyn AsyncWrite + Send>>, mut typed: mpsc::Receiver<Typed>) {
    while let Some(typed) = typed.recv().await {
        let given = match typed {
            Typed::Bytes(bytes) => match input.write_all(&bytes).await {
                Ok(()) => input.flush().await,
                Err(error) => Err(error),
            },
            Typed::End => input.shutdown().await,
        };
        if given.is_err() {
            return;
        }
    }
    let _ended = input.shutdown().await;
}

fn refused(error: &Error) -> TargetError {
    let why = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        error => error.to_string(),
    };
    TargetError::Engine { why }
}

impl Container {
    /// Takes the container's input, and starts it.
    async fn begin(&self) -> Result<Life, Error> {
        let options = AttachContainerOptions { stream: true, stdin: true, ..AttachContainerOptions::default() };
        let life = self.engine.attach_container(&self.id, Some(options)).await?;
        self.engine.start_container(&self.id, None).await?;
        Ok(Life(Mutex::new(life)))
    }

    /// Starts a shell.
    ///
    /// # Errors
    /// If the engine starts no program.
    pub(crate) async fn shell(&self, start: Start) -> Result<Wire, TargetError> {
        let Start { words, variables, terminal } = start;
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(terminal.is_some()),
            detach_keys: terminal.map(|_| terminal::no_keys()).transpose()?,
            env: Some(variables),
            cmd: Some(words.into_iter().map(Cow::into_owned).collect()),
            privileged: Some(false),
            user: (!self.user.is_empty()).then(|| self.user.clone()),
            ..CreateExecOptions::default()
        };
        let exec = self.engine.create_exec(&self.id, options).await.map_err(|error| refused(&error))?.id;
        if terminal.is_some() {
            let (wire, far) = Wire::new(terminal);
            terminal::start(self.engine.clone(), &self.socket, exec, far).await?;
            return Ok(wire);
        }
        let started = self.engine.start_exec(&exec, Some(StartExecOptions::default())).await;
        let StartExecResults::Attached { output, input } = started.map_err(|error| not_started(&error))? else {
            return Err(TargetError::NoProgram);
        };
        let (wire, Far { input: typed, output: mouth, .. }) = Wire::new(None);
        tokio::spawn(take(self.engine.clone(), exec, output, mouth));
        tokio::spawn(give(input, typed));
        Ok(wire)
    }

    /// Removes the container if it was made for this session.
    pub(crate) async fn close(&self) {
        if self.made.swap(false, Ordering::AcqRel) {
            remove(&self.engine, &self.id).await;
        }
    }
}

impl Drop for Container {
    /// For one whose call was interrupted: nobody is left to close it.
    fn drop(&mut self) {
        if self.made.swap(false, Ordering::AcqRel)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move { remove(&engine, &id).await });
        }
    }
}

async fn remove(engine: &Docker, id: &str) {
    let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
    match engine.remove_container(id, Some(options)).await {
        // It is gone, or going: the engine removes one whose input has ended.
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
        Err(error) => tracing::error!(%error, container = id, "a session's container cannot be removed"),
    }
}

/// Takes what comes until the stream ends, and then asks how the program did.
async fn take(
    engine: Docker,
    exec: String,
    mut output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    mouth: Mouth,
) {
    let cut = loop {
        let next = std::future::poll_fn(|context| match output.as_mut().poll_next(context) {
            Poll::Ready(next) => Poll::Ready(next),
            Poll::Pending => Poll::Pending,
        });
        let piece = match next.await {
            Some(Ok(LogOutput::StdOut { message })) => Piece::Out(message.to_vec()),
            Some(Ok(LogOutput::StdErr { message })) => Piece::Err(message.to_vec()),
            Some(Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. })) => continue,
            Some(Err(_)) => break true,
            None => break false,
        };
        if !mouth.put(piece).await {
            break true;
        }
    };
    let ending = if cut { None } else { ending(&engine, &exec).await };
    mouth.put(Piece::Ended(ending)).await;
}

/// How a program ended whose stream has.
async fn ending(engine: &Docker, exec: &str) -> Option<Ending> {
    let found = engine.inspect_exec(exec).await.ok();
    // While it runs it has no code: then the engine has gone, and not the program.
    let code = found.filter(|found| found.running == Some(false)).and_then(|found| found.exit_code);
    code.map(|code| match i32::try_from(code).unwrap_or(-1) {
        // An engine tells a signal as a shell does.
        code @ 129..=192 => Ending::Signalled(code - 128),
        code => Ending::Exited(code),
    })
}

impl std::fmt::Debug for Container {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Container").field("id", &self.id).finish_non_exhaustive()
    }
}
