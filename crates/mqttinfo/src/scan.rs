//! Looks at many targets, some at once and not too fast, and hands on each report when it is done.
//!
//! The targets are read one by one while others are looked at, and reports are not kept, so that memory does not grow
//! with their number; but for [`Seen`], which takes some 20 bytes a target.

mod lines;
mod progress;
mod seen;

pub use lines::{BadLine, count};
pub use progress::Progress;
pub use seen::Seen;

use crate::{Report, Target, target::Transport};
use lines::Line;
use std::{
    collections::HashMap,
    fmt,
    future::{Future, pending},
    io::{self, BufRead},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

/// Lines that are read ahead.
const AHEAD: usize = 64;

/// How many targets are looked at.
#[derive(Debug)]
pub struct Scan {
    /// How many at once, 50 if nothing else is said; at least one.
    pub parallel: usize,
    /// Time between two starts, if not as fast as can be; see [`pause`].
    pub pause: Option<Duration>,
    /// The transport of targets without a scheme.
    pub transport: Transport,
    /// The port of targets without one; that of the transport if none.
    pub port: Option<u16>,
    /// Targets that are passed over.
    pub seen: Seen,
    /// Shows how far it is.
    pub progress: Progress,
    /// Ends it early.
    pub interrupts: Interrupts,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            parallel: 50,
            pause: None,
            transport: Transport::Tcp,
            port: None,
            seen: Seen::default(),
            progress: Progress::hidden(),
            interrupts: Interrupts::none(),
        }
    }
}

/// Something that came of a scan.
#[derive(Debug)]
pub enum Event {
    /// A target was looked at.
    Report(Box<Report>),
    /// A line of the input is no target. The others are looked at all the same.
    BadLine(BadLine),
    /// Looking at a target failed by a mistake of this program.
    Failed(Target),
}

/// What became of all targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reports that were made.
    pub reports: u64,
    /// Targets that were in the output, or in the input, before.
    pub passed_over: u64,
    /// Lines that are no targets.
    pub bad_lines: u64,
    /// Targets at which this program failed.
    pub failed: u64,
    /// Targets that were begun and not finished, after a second interrupt.
    pub aborted: u64,
    /// Whether it was ended early, so that there may be targets that were not begun.
    pub interrupted: bool,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Looked at {}", self.reports)?;
        let bad = if self.bad_lines == 1 { "line that is no target" } else { "lines that are no targets" };
        for (count, what) in [
            (self.passed_over, "passed over as seen before"),
            (self.bad_lines, bad),
            (self.failed, "failed by a mistake of this program"),
            (self.aborted, "aborted"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.interrupted {
            f.write_str("; ended early: with an output file, the same command goes on")?;
        }
        Ok(())
    }
}

impl Scan {
    /// Looks at the targets that the lines of the input name, by `examine`, which sees to it that it takes no longer
    /// than it may. Blank lines and those that begin with `#` are no targets.
    ///
    /// After an interrupt no target is begun any more, and those that are under way are finished; after a second one
    /// they are aborted.
    ///
    /// # Errors
    ///
    /// The input cannot be read, once all targets before are done; or the error of the `sink`, at once.
    pub async fn run<F, Fut>(
        mut self,
        input: impl BufRead + Send + 'static,
        examine: F,
        mut sink: impl FnMut(Event) -> io::Result<()>,
    ) -> io::Result<Tally>
    where
        F: Fn(Target) -> Fut,
        Fut: Future<Output = Report> + Send + 'static,
    {
        let (sender, mut lines) = mpsc::channel(AHEAD);
        let (transport, port) = (self.transport, self.port);
        // A thread of its own, which may wait for standard input for ever and is left behind then. Among the blocking
        // tasks of the runtime it would keep the program from ending.
        std::thread::Builder::new().name("targets".to_owned()).spawn(move || {
            lines::read(input, |text| Target::parse(text, transport, port), |line| sender.blocking_send(line).is_ok());
        })?;

        let mut pace = Pace::new(self.pause);
        let mut tally = Tally::default();
        let mut tasks = JoinSet::new();
        let mut running = HashMap::new();
        let mut waiting: Option<Target> = None;
        let mut reading = true;
        let mut broken = None;
        while reading || waiting.is_some() || !tasks.is_empty() {
            tokio::select! {
                biased;
                () = self.interrupts.next() => {
                    if tally.interrupted {
                        tally.aborted = u64::try_from(tasks.len()).unwrap_or(u64::MAX);
                        tasks.shutdown().await;
                        break;
                    }
                    tally.interrupted = true;
                    (reading, waiting) = (false, None);
                    self.progress.ending(tasks.len());
                }
                Some(done) = tasks.join_next_with_id() => {
                    let id = match &done {
                        Ok((id, _)) => *id,
                        Err(error) => error.id(),
                    };
                    let target = running.remove(&id);
                    self.progress.done();
                    match (done, target) {
                        (Ok((_, report)), _) => {
                            tally.reports += 1;
                            sink(Event::Report(Box::new(report)))?;
                        }
                        (Err(_), Some(target)) => {
                            tally.failed += 1;
                            sink(Event::Failed(target))?;
                        }
                        (Err(_), None) => {}
                    }
                }
                line = lines.recv(), if reading && waiting.is_none() && tasks.len() < self.parallel.max(1) => match line {
                    Some(Line::Target(target)) if self.seen.insert(&target.to_string()) => waiting = Some(target),
                    Some(Line::Target(_)) => {
                        tally.passed_over += 1;
                        self.progress.passed_over();
                    }
                    Some(Line::Bad(line)) => {
                        tally.bad_lines += 1;
                        self.progress.passed_over();
                        sink(Event::BadLine(line))?;
                    }
                    Some(Line::Broken(error)) => {
                        broken = Some(error);
                        reading = false;
                    }
                    None => reading = false,
                },
                () = pace.ready(), if waiting.is_some() => {
                    if let Some(target) = waiting.take() {
                        let id = tasks.spawn(examine(target.clone())).id();
                        running.insert(id, target);
                    }
                }
            }
        }
        self.progress.finish();
        broken.map_or(Ok(tally), Err)
    }
}

/// Reads a number of targets a second, such as `20` or `0.5`, as the time between two.
///
/// # Errors
///
/// It is no number above 0, or more than 1,000, as the timer has milliseconds.
pub fn pause(text: &str) -> Result<Duration, String> {
    let rate = text.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate <= 1000.0);
    let pause = rate.and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok());
    pause.ok_or_else(|| "give a number of targets a second, more than 0 and up to 1000".to_owned())
}

/// When the next target may begin.
struct Pace(Option<Interval>);

impl Pace {
    fn new(pause: Option<Duration>) -> Self {
        Self(pause.filter(|pause| !pause.is_zero()).map(|pause| {
            let mut interval = interval(pause);
            // If all places were taken for a while, the starts that were missed are not made up for in a burst.
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    async fn ready(&mut self) {
        if let Some(interval) = &mut self.0 {
            interval.tick().await;
        }
    }
}

/// What ends a scan early.
#[derive(Debug)]
pub struct Interrupts(mpsc::Receiver<()>);

impl Interrupts {
    /// None ever.
    #[must_use]
    pub fn none() -> Self {
        Self::channel().1
    }

    /// Each message is an interrupt.
    #[must_use]
    pub fn channel() -> (mpsc::Sender<()>, Self) {
        let (sender, receiver) = mpsc::channel(2);
        (sender, Self(receiver))
    }

    /// Each Ctrl-C, which no longer ends the program by itself. Within a runtime of tokio only.
    #[must_use]
    pub fn ctrl_c() -> Self {
        let (sender, interrupts) = Self::channel();
        tokio::spawn(async move { while tokio::signal::ctrl_c().await.is_ok() && sender.send(()).await.is_ok() {} });
        interrupts
    }

    async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::{
        sync::{Barrier, Semaphore},
        time::{Instant, sleep, timeout},
    };

    fn report(target: &Target) -> Report {
        Report { target: target.to_string(), ..example::unreachable() }
    }

    /// Runs a scan; the targets in order of their reports, and the lines that are none.
    async fn run<Fut>(scan: Scan, input: &str, examine: impl Fn(Target) -> Fut) -> (Tally, Vec<String>, Vec<u64>)
    where
        Fut: Future<Output = Report> + Send + 'static,
    {
        let (mut targets, mut bad) = (Vec::new(), Vec::new());
        let input = io::Cursor::new(input.to_owned());
        let tally = scan
            .run(input, examine, |event| {
                match event {
                    Event::Report(report) => targets.push(report.target),
                    Event::BadLine(line) => bad.push(line.line),
                    Event::Failed(target) => targets.push(format!("failed {target}")),
                }
                Ok(())
            })
            .await
            .unwrap();
        (tally, targets, bad)
    }

    fn many(count: usize) -> String {
        (0..count).map(|number| format!("host{number}\n")).collect()
    }

    #[tokio::test]
    async fn reports_come_in_order_of_completion_and_bad_lines_stop_nothing() {
        let input = "# a comment\n\n slow \nhttp://bad\nfast:1\nme:secret@b\nwss://x\n";
        let fast = Arc::new(Semaphore::new(0));
        let (tally, targets, bad) = run(Scan::default(), input, |target| {
            let fast = Arc::clone(&fast);
            async move {
                if target.host() == "slow" {
                    fast.acquire_many(2).await.unwrap().forget();
                    sleep(Duration::from_millis(50)).await;
                } else {
                    fast.add_permits(1);
                }
                report(&target)
            }
        })
        .await;
        assert_eq!(targets, ["mqtt://fast:1", "wss://x:443/mqtt", "mqtt://slow:1883"]);
        assert_eq!(bad, [4, 6]);
        assert_eq!(tally, Tally { reports: 3, bad_lines: 2, ..Tally::default() });
    }

    #[tokio::test]
    async fn no_more_are_looked_at_at_once_than_may_be_and_no_fewer() {
        for parallel in [1, 7] {
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            // Nobody gets past it before as many are there as may be.
            let full = Arc::new(Barrier::new(parallel));
            let shared = (Arc::clone(&now), Arc::clone(&most));
            let scan = Scan { parallel, ..Scan::default() };
            let targets = many(42);
            let all = run(scan, &targets, move |target| {
                let ((now, most), full) = (shared.clone(), Arc::clone(&full));
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    full.wait().await;
                    sleep(Duration::from_millis(2)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    report(&target)
                }
            });
            let (tally, ..) = timeout(Duration::from_secs(30), all).await.unwrap();
            assert_eq!((tally.reports, now.load(Ordering::SeqCst)), (42, 0));
            assert_eq!(most.load(Ordering::SeqCst), parallel);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn starts_keep_their_distance_even_after_a_wait() {
        let starts = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&starts);
        let scan = Scan { parallel: 1, pause: Some(pause("10").unwrap()), ..Scan::default() };
        run(scan, &many(20), move |target| {
            seen.lock().unwrap().push(Instant::now());
            async move {
                if target.host() == "host4" {
                    sleep(Duration::from_secs(10)).await;
                }
                report(&target)
            }
        })
        .await;
        let starts = starts.lock().unwrap();
        assert_eq!(starts.len(), 20);
        for pair in starts.windows(2) {
            assert!(pair[1] - pair[0] >= Duration::from_millis(100), "{starts:?}");
        }
        let whole = starts[19] - starts[0];
        assert!(whole < Duration::from_secs(15), "no slower than it must: {whole:?}");
    }

    #[tokio::test]
    async fn what_was_seen_is_passed_over_and_nothing_is_looked_at_twice() {
        let log: String =
            ["host1", "host3"].map(|host| crate::output::json::line(&report(&host.parse().unwrap())).unwrap()).concat();
        let scan = Scan { seen: Seen::load(log.as_bytes()).unwrap(), ..Scan::default() };
        let input = format!("{}host0:1883\nmqtt://HOST2\nhost0:1884\n", many(5));
        let (tally, mut targets, _) = run(scan, &input, |target| async move { report(&target) }).await;
        targets.sort();
        assert_eq!(targets, ["mqtt://host0:1883", "mqtt://host0:1884", "mqtt://host2:1883", "mqtt://host4:1883"]);
        assert_eq!((tally.reports, tally.passed_over), (4, 4));
    }

    #[tokio::test]
    async fn the_first_interrupt_finishes_what_runs_and_the_second_aborts_it() {
        for (interrupts, reports, aborted) in [(1, 3, 0), (2, 0, 3)] {
            let (sender, receiver) = Interrupts::channel();
            let started = Arc::new(AtomicUsize::new(0));
            let scan = Scan { parallel: 3, interrupts: receiver, ..Scan::default() };
            let (tally, ..) = run(scan, &many(1000), move |target| {
                if started.fetch_add(1, Ordering::SeqCst) == 2 {
                    for _ in 0..interrupts {
                        sender.try_send(()).unwrap();
                    }
                }
                async move {
                    sleep(Duration::from_millis(200)).await;
                    report(&target)
                }
            })
            .await;
            assert_eq!(tally, Tally { reports, aborted, interrupted: true, ..Tally::default() });
            assert!(tally.to_string().contains("ended early"), "{tally}");
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_target_and_a_full_disk_ends_the_scan() {
        let (tally, targets, _) = run(Scan::default(), "a\nb\n", |target| async move {
            assert!(target.host() != "a", "a mistake");
            report(&target)
        })
        .await;
        assert!(targets.contains(&"failed mqtt://a:1883".to_owned()), "{targets:?}");
        assert_eq!((tally.reports, tally.failed), (1, 1));

        let mut written = 0;
        let input = io::Cursor::new(many(1000));
        let full = |_| {
            written += 1;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let result = Scan::default().run(input, |target| async move { report(&target) }, full).await;
        assert_eq!((result.unwrap_err().kind(), written), (io::ErrorKind::StorageFull, 1));
    }

    #[tokio::test]
    async fn lines_are_read_only_as_far_as_they_are_needed() {
        /// Lines without end, counted.
        struct Endless(Arc<AtomicUsize>);
        impl io::Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let number = self.0.fetch_add(1, Ordering::SeqCst);
                io::Read::read(&mut format!("h{number}\n").as_bytes(), buffer)
            }
        }
        let lines = Arc::new(AtomicUsize::new(0));
        let (sender, interrupts) = Interrupts::channel();
        let scan = Scan { parallel: 5, interrupts, ..Scan::default() };
        let input = io::BufReader::new(Endless(Arc::clone(&lines)));
        let mut reports = 0;
        let tally = scan
            .run(
                input,
                |target| async move { report(&target) },
                |_| {
                    reports += 1;
                    if reports == 500 {
                        sender.try_send(()).unwrap();
                    }
                    Ok(())
                },
            )
            .await
            .unwrap();
        assert!((500..=505).contains(&tally.reports), "{tally:?}");
        let read = lines.load(Ordering::SeqCst);
        assert!(read <= 500 + 5 + AHEAD + 10, "{read} lines were read");
    }

    #[test]
    fn a_rate_is_a_number_of_targets_a_second() {
        assert_eq!(pause("20"), Ok(Duration::from_millis(50)));
        assert_eq!(pause("0.5"), Ok(Duration::from_secs(2)));
        for wrong in ["", "0", "-1", "nan", "inf", "1001", "1e-300", "x"] {
            assert!(pause(wrong).is_err(), "{wrong}");
        }
    }
}
