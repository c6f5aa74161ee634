//! A real terminal: tmux, with a server of its own, which ends when the test lets go of it.

use std::process::{Command, Output};

use super::services::has_program;
use super::until;

/// A terminal with a shell command in it.
pub(crate) struct Terminal {
    name: String,
}

impl Terminal {
    /// One of this size that runs `script` with the environment of `of`. `None`: there is no tmux, and the test should end here.
    pub(crate) fn open(name: &str, (columns, rows): (u16, u16), of: &Command, script: &str) -> Option<Self> {
        has_program("tmux")?;
        let terminal = Self { name: format!("palisade-{name}-{}", std::process::id()) };
        let mut tmux = terminal.tmux();
        for (name, value) in of.get_envs() {
            match value {
                Some(value) => tmux.env(name, value),
                None => tmux.env_remove(name),
            };
        }
        let (columns, rows) = (columns.to_string(), rows.to_string());
        tmux.args(["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, "sh", "-c", script]);
        let output = tmux.output().expect("tmux starts");
        assert!(output.status.success(), "{output:?}");
        Some(terminal)
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8(self.call(&["capture-pane", "-p"]).stdout).expect("UTF-8")
    }

    /// The same with its colours, as escape sequences.
    pub(crate) fn coloured(&self) -> String {
        String::from_utf8(self.call(&["capture-pane", "-p", "-e"]).stdout).expect("UTF-8")
    }

    /// Waits for the screen to show all of these texts.
    pub(crate) fn shows(&self, texts: &[&str]) -> String {
        until(&format!("{texts:?} in the terminal"), || {
            let screen = self.screen();
            if texts.iter().all(|text| screen.contains(text)) { Ok(screen) } else { Err(screen) }
        })
    }

    /// Presses keys, by tmux's names.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.call(&[&["send-keys"], keys].concat());
    }

    /// Types a text as it is.
    pub(crate) fn types(&self, text: &str) {
        self.call(&["send-keys", "-l", text]);
    }

    /// Opens one more window, which runs this; with `behind`, the one that is shown stays.
    pub(crate) fn window(&self, script: &str, behind: bool) {
        let stays = if behind { ["-d"].as_slice() } else { &[] };
        let opened = self.call(&[&["new-window"], stays, &["sh", "-c", script]].concat());
        assert!(opened.status.success(), "{opened:?}");
    }

    /// Shows the window of this number, from 0.
    pub(crate) fn choose(&self, window: &str) {
        self.call(&["select-window", "-t", window]);
    }

    /// Gives the window another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.call(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.tmux().args(arguments).output().expect("tmux starts")
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.name]).env("TERM", "screen-256color").env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.call(&["kill-server"]);
    }
}
