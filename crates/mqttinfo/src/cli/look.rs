//! `mqttinfo TARGET…`: looks, shows, and says by its exit code what came of it.

use crate::arguments::{Cli, Look};
use anyhow::Context;
use clap::{CommandFactory, error::ErrorKind};
use mqttinfo::{
    Report, Target, examine,
    findings::catalogue,
    output::{Few, fails, json, json::Log, junit, printable, sarif, table},
    report::{Outcome, Severity},
    scan::{self, Event, Interrupts, Progress, Scan, Seen, Tally},
};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

const SOMETHING_FOUND: u8 = 3;
const NO_BROKER: u8 = 4;
const INTERRUPTED: u8 = 130;

/// Where `-j` appends.
const DEFAULT_LOG: &str = "mqttinfo.json";

pub(crate) fn run(args: &Look) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(args.settings()?);
    let (input, total) = args.input()?;
    let (log, seen) = args.log()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        // With one target there is nothing to show the way of.
        let progress = if total == Some(1) { Progress::hidden() } else { Progress::new(total) };
        let mut sink = Sink::new(args, log, progress.handle());
        let scan = Scan {
            parallel: args.parallel(),
            pause: args.pause(),
            transport: args.transport(),
            port: args.port,
            seen,
            progress,
            interrupts: Interrupts::ctrl_c(),
        };
        let look = |target: Target| {
            let settings = Arc::clone(&settings);
            async move { examine(&target, &settings).await }
        };
        let tally = scan.run(input, look, |event| sink.take(event)).await?;
        anyhow::Ok((sink, tally))
    });
    // A target that hangs in a look-up of its name is not waited for.
    runtime.shutdown_background();
    let (sink, tally) = outcome?;
    sink.finish(args, tally, total)
}

impl Look {
    /// The targets, line by line, and how many there are if that is known.
    fn input(&self) -> anyhow::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
        match &self.targets {
            Some(file) if file.as_os_str() == "-" => Ok((Box::new(BufReader::new(io::stdin())), None)),
            Some(file) => {
                let open = || File::open(file).with_context(|| format!("could not read {}", file.display()));
                let total = scan::count(BufReader::new(open()?))?;
                Ok((Box::new(BufReader::new(open()?)), Some(total)))
            }
            None => {
                let places: Vec<_> = self.place.iter().chain(&self.host).map(String::as_str).collect();
                for place in &places {
                    if let Err(error) = Target::parse(place, self.transport(), self.port) {
                        // A URL that is refused for its password is not shown.
                        let place = if place.contains('@') { "a target with an @" } else { place };
                        let wrong = format!("{}: {error}\n", printable(place));
                        Cli::command().error(ErrorKind::ValueValidation, wrong).exit();
                    }
                }
                let total = u64::try_from(places.len()).ok();
                Ok((Box::new(Cursor::new(places.join("\n"))), total))
            }
        }
    }

    /// The file that lines of JSON go to, and what is in it.
    fn log(&self) -> anyhow::Result<(Option<Log>, Seen)> {
        let open = |path: &Path| Log::open(path).with_context(|| format!("could not write {}", path.display()));
        if self.output.j {
            return Ok((Some(open(Path::new(DEFAULT_LOG))?), Seen::default()));
        }
        let Some(path) = &self.output.output else { return Ok((None, Seen::default())) };
        let seen = match File::open(path) {
            Ok(file) => Seen::load(BufReader::new(file)).with_context(|| path.display().to_string())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::default(),
            Err(error) => return Err(error).with_context(|| format!("could not read {}", path.display())),
        };
        Ok((Some(open(path)?), seen))
    }
}

/// Where reports go.
struct Sink {
    log: Option<Log>,
    /// For documents that are written at the end, if any are.
    few: Option<Few>,
    progress: Progress,
    shows: Shows,
    fail_on: Option<Severity>,
    found: bool,
    no_broker: bool,
}

#[derive(Clone, Copy)]
enum Shows {
    Nothing,
    Json,
    Table(table::Style),
}

impl Sink {
    fn new(args: &Look, log: Option<Log>, progress: Progress) -> Self {
        let output = &args.output;
        let shows = match (output.quiet, output.json) {
            (true, _) => Shows::Nothing,
            (false, true) => Shows::Json,
            (false, false) => Shows::Table(table::Style::of_stdout()),
        };
        let few = (output.sarif.is_some() || output.junit.is_some()).then(Few::default);
        let fail_on = output.fail_on.map(Severity::from);
        Self { log, few, progress, shows, fail_on, found: false, no_broker: false }
    }

    fn take(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Report(report) => self.take_report(*report),
            Event::BadLine(line) => {
                self.note(&line.to_string());
                Ok(())
            }
            Event::Failed(target) => {
                self.note(&format!("{target}: could not be looked at, by a mistake of this program: please report it"));
                Ok(())
            }
        }
    }

    fn note(&self, text: &str) {
        self.progress.print(|| anstream::eprintln!("{text}"));
    }

    fn take_report(&mut self, report: Report) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            log.append(&report)?;
        }
        self.found |= self.fail_on.is_some_and(|level| fails(&report, level));
        self.no_broker |= report.outcome != Outcome::Broker;
        let text = match self.shows {
            Shows::Nothing => String::new(),
            Shows::Json => json::line(&report)?,
            Shows::Table(style) => table::render(&report, style) + "\n",
        };
        self.progress.print(|| io::stdout().lock().write_all(text.as_bytes()))?;
        if let Some(few) = &mut self.few {
            few.push(report).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Writes the documents, and says how it went.
    fn finish(self, args: &Look, tally: Tally, total: Option<u64>) -> anyhow::Result<ExitCode> {
        let output = &args.output;
        let write = |file: &Path, text: String| {
            fs::write(file, text).with_context(|| format!("could not write {}", file.display()))
        };
        let few = self.few.unwrap_or_default();
        if let Some(file) = &output.sarif {
            write(file, sarif::render(&few, catalogue()))?;
        }
        if let Some(file) = &output.junit {
            write(file, junit::render(&few, self.fail_on)?)?;
        }
        if total != Some(1) || tally.reports == 0 {
            anstream::eprintln!("{tally}");
        }
        Ok(if tally.interrupted {
            ExitCode::from(INTERRUPTED)
        } else if tally.failed > 0 || tally.bad_lines > 0 {
            ExitCode::FAILURE
        } else if self.found {
            ExitCode::from(SOMETHING_FOUND)
        } else if self.no_broker {
            ExitCode::from(NO_BROKER)
        } else {
            ExitCode::SUCCESS
        })
    }
}
