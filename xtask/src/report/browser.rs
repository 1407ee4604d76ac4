//! A Chromium that is told what to do through a pipe, by its DevTools protocol.

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// For how long it may say nothing while something is waited for.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// A browser with one page.
pub(super) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    sent: u64,
    session: Option<String>,
    /// What happened since it was last asked.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    pub(super) fn start(program: &Path) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut child = Command::new("sh")
            // It reads from descriptor 3 and writes to 4.
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            // Root has no sandbox; what is shown is our own.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .args(["--disable-background-networking", "--no-first-run"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("sh")?;
        let to = child.stdin.take().context("a pipe")?;
        let from = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut browser =
            Self { child, to, from, sent: 0, session: None, events: Vec::new(), _profile: profile };
        let target =
            browser.ask("Target.createTarget", &json!({ "url": "about:blank" })).with_context(|| {
                format!("{} does not answer; on Debian `apt-get install chromium`", program.display())
            })?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// Has something done, and waits until it is.
    pub(super) fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes())?;
        loop {
            let message = self.message()?;
            if message["id"] != self.sent {
                self.events.push(message);
            } else if message["error"].is_null() {
                return Ok(message["result"].clone());
            } else {
                bail!("{method}: {}", message["error"]);
            }
        }
    }

    /// Shows a page; all that happens until it is loaded is in what [`events`](Self::events) gives.
    pub(super) fn show(&mut self, url: &str) -> Result<()> {
        self.events.clear();
        let shown = self.ask("Page.navigate", &json!({ "url": url }))?;
        ensure!(shown["errorText"].is_null(), "{url}: {}", shown["errorText"]);
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.message()?;
            self.events.push(message);
        }
        Ok(())
    }

    /// What an expression comes to.
    pub(super) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let found = self.ask("Runtime.evaluate", &asked)?;
        ensure!(found["exceptionDetails"].is_null(), "{}", found["exceptionDetails"]);
        Ok(found["result"]["value"].clone())
    }

    pub(super) fn events(&self) -> &[Value] {
        &self.events
    }

    fn message(&mut self) -> Result<Value> {
        if self.from.buffer().is_empty() {
            let ready = poll(&mut [PollFd::new(self.from.get_ref(), PollFlags::IN)], Some(&PATIENCE))?;
            ensure!(ready > 0, "the browser says nothing");
        }
        let mut message = Vec::new();
        self.from.read_until(0, &mut message)?;
        ensure!(message.pop() == Some(0), "the browser has ended");
        Ok(serde_json::from_slice(&message)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        // What does not end by itself is ended.
        let _ = self.ask("Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
