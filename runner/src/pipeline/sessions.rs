//! Sessions from a caller's side: opened, had again, listed, closed; and what becomes of those that nobody uses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Client, Failure, Opened, Pipeline, SessionNote, WithClient};
use crate::record;
use crate::session::registry::{Note, Place};
use crate::session::{Beginning, Session, SessionId};

impl Pipeline {
    /// Opens a session that keeps its state between scripts.
    ///
    /// # Errors
    /// If policy does not permit it, all places are taken, or no shell can be started.
    pub async fn open_session(&self, cwd: Option<&str>, client: &Client) -> Result<Opened, Failure> {
        let place = self.sessions.admit().map_err(|error| self.failure(&error))?;
        let cwd = self.directory(cwd, &self.settings.cwd)?;
        let id = SessionId::new().map_err(|error| self.failure(&error))?;
        let occasion = self.occasion(&id, cwd, None);
        let facts = self.settings.surroundings.facts(&occasion).with(client);
        let reloads = self.reloads.load(Ordering::Acquire);
        self.may_open(&facts)?;
        self.tally.begin();
        let session = self.start(&id, &facts, Beginning::default(), None).await?;
        self.opened(session, place, reloads, false).await
    }

    /// Starts a shell in the place of one that is gone, under the same name. Its directory, variables, functions,
    /// options, aliases, traps and arguments are those from before the command that ended it; what ran in the background
    /// and what was open is gone.
    ///
    /// # Errors
    /// If there is no such session or it has not ended, policy does not permit it any more, all places are taken, or no
    /// shell can be started.
    pub async fn restart_session(&self, id: &str, client: &Client) -> Result<Opened, Failure> {
        let place = self.sessions.admit().map_err(|error| self.failure(&error))?;
        let remains = self.sessions.take_remains(id).map_err(|error| self.failure(&error))?;
        let occasion = self.occasion(&remains.id, remains.cwd.clone(), Some(remains.temp().clone()));
        let facts = self.settings.surroundings.facts(&occasion).with(client);
        let reloads = self.reloads.load(Ordering::Acquire);
        self.may_open(&facts)?;
        let plan = self.plan(&facts, remains.temp())?;
        let environment = self.settings.environment.clone();
        let session = Session::reopen(remains, plan, environment).await.map_err(|error| self.failure(&error))?;
        self.opened(session, place, reloads, true).await
    }

    fn may_open(&self, facts: &palisade_engine::Facts) -> Result<(), Failure> {
        if self.settings.engine.now().permits_session(facts) {
            return Ok(());
        }
        Err(Failure::of("no policy permits this principal to open a session here"))
    }

    async fn opened(&self, session: Session, place: Place, reloads: u64, restarted: bool) -> Result<Opened, Failure> {
        let (id, enforced) = (session.id().clone(), session.enforced().clone());
        let cwd = self.settings.redactor.text(session.cwd().as_str());
        let forgotten = session.beginning().forgotten;
        let entry = record::opened(&self.settings, &id, &cwd, &enforced);
        let anchor = match self.audit.append(entry).await {
            Ok(anchor) => anchor,
            Err(error) => {
                session.close().await;
                return Err(self.failure(&error));
            }
        };
        self.sessions.insert(session, place);
        if self.reloads.load(Ordering::Acquire) != reloads {
            // It may have been started under the kernel rules of the policies before.
            let _gone_already = self.sessions.close(id.as_str()).await;
            return Err(Failure::of("the policies have changed meanwhile; open the session again"));
        }
        let session = self.settings.redactor.text(id.as_str());
        Ok(Opened { session, cwd, restarted, state_lost: restarted && forgotten, sandbox: enforced, anchor })
    }

    /// Ends a session and everything in it.
    ///
    /// # Errors
    /// If there is none of that name, or its end cannot be recorded.
    pub async fn close_session(&self, id: &str) -> Result<(), Failure> {
        self.sessions.close(id).await.map_err(|error| self.failure(&error))?;
        let entry = record::closed(id, "closed");
        self.audit.append(entry).await.map(drop).map_err(|error| self.failure(&error))
    }

    /// The sessions: the open ones, and those whose shell is gone and that can be had again.
    pub async fn sessions(&self) -> Vec<SessionNote> {
        let note = |note: &Note| SessionNote {
            session: self.redact(&note.id),
            cwd: self.redact(note.cwd.as_str()),
            commands: note.commands,
            age_s: note.opened.elapsed().as_secs(),
            idle_s: note.used.elapsed().as_secs(),
            busy: note.busy,
            job: note.job.as_deref().map(|job| self.redact(job)),
            ended: note.ended.map(|lost| crate::redact::Redacted::from_static(lost.as_str())),
        };
        self.sessions.notes().iter().map(note).collect()
    }

    /// Ends what nobody uses, again and again, as long as the pipeline lives. For a server to run beside its work.
    pub async fn keep_house(self: &Arc<Self>) {
        let pipeline = Arc::downgrade(self);
        let idle = self.settings.idle;
        let every = (idle / 10).clamp(Duration::from_millis(100), Duration::from_secs(30));
        loop {
            tokio::time::sleep(every).await;
            let Some(pipeline) = pipeline.upgrade() else { return };
            pipeline.jobs.sweep(idle);
            for id in pipeline.sessions.close_idle(idle, pipeline.settings.lifetime).await {
                if let Err(failure) = pipeline.audit.append(record::closed(&id, "idle")).await {
                    tracing::error!(%failure, "the end of a session cannot be recorded");
                }
            }
        }
    }
}
