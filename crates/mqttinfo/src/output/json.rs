//! Reports as lines of JSON, one per target. `docs/mqttinfo.schema.json` describes them.
//!
//! A file of them grows at its end only, by whole lines. If a line was cut off, by a crash or a full disk, the lines
//! before and after it stay readable.

use crate::report::{Report, SCHEMA};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, BufRead, Read, Seek, SeekFrom, Write},
    marker::PhantomData,
    path::Path,
};

/// The longest line that is read. A report with all its topics takes a few megabytes.
const LONGEST_LINE: u64 = 64 << 20;

/// A report as a line, with its line feed.
///
/// # Errors
///
/// None that is known: all of a report can be written as JSON.
pub fn line(report: &Report) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(report)?;
    line.push('\n');
    Ok(line)
}

/// A file that reports are appended to.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// Opens a file, or makes it. A last line that was cut off gets its line feed, so that the next is not part of it.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        // A pipe or a terminal has no last line.
        if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self(file))
    }

    /// Appends a report as one line by one write, so that lines of several writers do not mix.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn append(&mut self, report: &Report) -> io::Result<()> {
        self.0.write_all(line(report)?.as_bytes())
    }
}

/// Reads reports line by line: whole ones, or only what a `T` has of them. Empty lines are passed over. After an error
/// it goes on with the next line, unless nothing can be read any more.
#[derive(Debug)]
pub struct Reader<R, T = Report> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
    parts: PhantomData<fn() -> T>,
}

impl<R: BufRead, T> Reader<R, T> {
    /// Reads from its first line on.
    pub const fn new(input: R) -> Self {
        Self { input, line: 0, buffer: Vec::new(), ended: false, parts: PhantomData }
    }

    /// The next line that is not empty, in the buffer; false at the end.
    fn read_line(&mut self) -> Result<bool, Problem> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let read = (&mut self.input)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|error| Problem::Io(error.to_string()))?;
            if read == 0 {
                return Ok(false);
            }
            if u64::try_from(read).is_ok_and(|read| read == LONGEST_LINE) && !self.buffer.ends_with(b"\n") {
                return Err(Problem::TooLong);
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

impl<R: BufRead, T: DeserializeOwned> Iterator for Reader<R, T> {
    type Item = Result<T, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let result = match self.read_line() {
            Ok(false) => {
                self.ended = true;
                return None;
            }
            // Without its line feed, which a line that was cut off within a text does not end in by itself.
            Ok(true) => parse(self.buffer.trim_ascii()),
            Err(problem) => {
                self.ended = true;
                Err(problem)
            }
        };
        Some(result.map_err(|problem| ReadError { line: self.line, problem }))
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Problem> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    // The version first: what another version holds is not ours to complain about.
    let version = serde_json::from_slice::<Version>(line);
    match version {
        Ok(Version { schema }) if schema != SCHEMA => Err(Problem::Schema(schema)),
        _ => serde_json::from_slice(line)
            .map_err(|error| if error.is_eof() { Problem::CutOff } else { Problem::NoReport(error.to_string()) }),
    }
}

/// A line that is no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Which line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It ends in the middle, as after a crash.
    CutOff,
    /// It is a report of another version.
    Schema(u32),
    /// It is something else; what the parser says.
    NoReport(String),
    /// It is longer than any report. What follows is not read.
    TooLong,
    /// The file cannot be read; what the system says. What follows is not read.
    Io(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, problem } = self;
        match problem {
            Problem::CutOff => write!(f, "line {line} is cut off"),
            Problem::Schema(version) => write!(
                f,
                "line {line} is a report of version {version}, and this program reads version {SCHEMA}: use the \
                 mqttinfo that wrote it, or look at the target again"
            ),
            Problem::NoReport(why) => write!(f, "line {line} is no report of mqttinfo: {why}"),
            Problem::TooLong => write!(f, "line {line} is longer than any report: is this a file of mqttinfo?"),
            Problem::Io(why) => write!(f, "cannot read line {line}: {why}"),
        }
    }
}

impl core::error::Error for ReadError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use std::{fs, io::BufReader};

    fn read(text: &[u8]) -> Vec<Result<String, String>> {
        let reports = Reader::<_, Report>::new(text);
        reports.map(|read| read.map(|report| report.target).map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn a_report_comes_back_as_it_was() {
        for report in [example::report(), example::hostile(), example::unreachable()] {
            let line = line(&report).unwrap();
            assert_eq!(line.matches('\n').count(), 1, "one line, whatever a broker says");
            let back = Reader::<_, Report>::new(line.as_bytes()).next().unwrap().unwrap();
            assert_eq!(format!("{back:?}"), format!("{report:?}"));
        }
    }

    #[test]
    fn lines_that_are_no_reports_are_named_and_do_not_stop_the_others() {
        let good = line(&example::report()).unwrap();
        let other = good.replace("\"schema\":1", "\"schema\":2");
        let cut = good.get(..200).unwrap();
        let text = format!("\n{good}{other}{cut}\n{{\"schema\":1}}\nnot JSON\n\u{1b}\n{good}{cut}");
        let target = Ok("mqtts://broker.example:8883".to_owned());
        let read = read(text.as_bytes());
        assert_eq!(read.len(), 8, "{read:?}");
        assert_eq!(read[0], target);
        assert!(read[1].as_ref().unwrap_err().starts_with("line 3 is a report of version 2, and this program reads"));
        assert_eq!(read[2], Err("line 4 is cut off".into()));
        assert!(read[3].as_ref().unwrap_err().starts_with("line 5 is no report of mqttinfo: missing field"));
        assert!(read[4].as_ref().unwrap_err().starts_with("line 6 is no report of mqttinfo: expected"));
        assert!(read[5].as_ref().unwrap_err().starts_with("line 7 is no report"));
        assert_eq!(read[6], target);
        assert_eq!(read[7], Err("line 9 is cut off".into()));
    }

    #[test]
    fn another_version_is_refused_even_if_its_fields_are_others() {
        let error = read(b"{\"schema\":7,\"target\":5}\n").remove(0).unwrap_err();
        assert!(error.contains("version 7"), "{error}");
    }

    #[test]
    fn a_line_without_end_is_not_read_into_memory() {
        let endless = BufReader::new(io::repeat(b' '));
        let mut lines = Reader::<_, Report>::new(endless);
        assert_eq!(lines.next().unwrap().unwrap_err(), ReadError { line: 1, problem: Problem::TooLong });
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_before_the_next_is_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let whole = line(&example::report()).unwrap();
        let cut = whole.get(..100).unwrap();
        fs::write(&path, format!("{whole}{cut}")).unwrap();
        Log::open(&path).unwrap().append(&example::unreachable()).unwrap();
        Log::open(&path).unwrap().append(&example::report()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{whole}{cut}\n{}{whole}", line(&example::unreachable()).unwrap()));
        assert_eq!(read(text.as_bytes()).iter().filter(|read| read.is_ok()).count(), 3);
    }

    #[test]
    fn two_writers_of_a_file_do_not_overwrite_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let (mut one, mut other) = (Log::open(&path).unwrap(), Log::open(&path).unwrap());
        for _ in 0..3 {
            one.append(&example::report()).unwrap();
            other.append(&example::unreachable()).unwrap();
        }
        let read = read(&fs::read(&path).unwrap());
        assert_eq!(read.len(), 6);
        assert!(read.iter().all(Result::is_ok));
    }
}
