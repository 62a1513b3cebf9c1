//! Prints the story, and counts what came out as it says. The story ends at the first thing that did not.

use anyhow::bail;
use std::{
    fmt::Display,
    io::{IsTerminal, stdout},
    time::{Duration, Instant},
};

const BOLD: &str = "\x1b[1m";
const TITLE: &str = "\x1b[1;36m";
const FAINT: &str = "\x1b[2m";
const GOOD: &str = "\x1b[32m";
const BAD: &str = "\x1b[1;31m";
const END: &str = "\x1b[0m";

pub(super) struct Narrator {
    begun: Instant,
    in_colour: bool,
    chapters: u32,
    held: u32,
}

impl Narrator {
    pub(super) fn new() -> Self {
        let in_colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { begun: Instant::now(), in_colour, chapters: 0, held: 0 }
    }

    fn print(&self, style: &str, text: &str) {
        if self.in_colour {
            println!("{style}{text}{END}");
        } else {
            println!("{text}");
        }
    }

    pub(super) fn opening(&self, title: &str) {
        self.print(BOLD, title);
    }

    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        println!();
        self.print(TITLE, &format!("{}. {title}", self.chapters));
    }

    /// What happens.
    pub(super) fn note(&self, text: impl Display) {
        self.print(FAINT, &format!("   {text}"));
    }

    /// What has to be so.
    pub(super) fn expect(&mut self, holds: bool, fact: impl Display, otherwise: impl Display) -> anyhow::Result<()> {
        let at = self.begun.elapsed().as_secs_f32();
        if holds {
            self.held += 1;
            self.print(GOOD, &format!(" \u{2713} {fact}  ({at:.1} s)"));
            return Ok(());
        }
        self.print(BAD, &format!(" \u{2717} EXPECTED {fact}"));
        self.print(BAD, &format!("   HAPPENED {otherwise}  ({at:.1} s)"));
        bail!("the demo did not come out as expected: see above")
    }

    /// What has to become so within some time.
    pub(super) async fn wait_for(
        &mut self,
        fact: impl Display,
        within: Duration,
        mut is_so: impl AsyncFnMut() -> anyhow::Result<Result<(), String>>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            match is_so().await? {
                Ok(()) => return self.expect(true, fact, ""),
                Err(otherwise) if Instant::now() >= deadline => return self.expect(false, fact, otherwise),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    pub(super) fn summary(&self) {
        println!();
        let seconds = self.begun.elapsed().as_secs();
        self.print(GOOD, &format!("{} expectations held, in {seconds} s.", self.held));
    }
}
