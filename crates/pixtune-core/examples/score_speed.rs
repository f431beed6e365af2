//! How long metrics take: CPU seconds of one thread for the answers of a file of predictions; see `bench/evaluate`.
//!
//!     cargo run --release -p pixtune-core --example score_speed -- PREDICTIONS METRIC...
//!
//! Prints `metric<TAB>sum of scores<TAB>seconds`; the best of three rounds. Reading the file is not measured.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use pixtune_core::json::{Value, parse};
use pixtune_core::score::Metric;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read_to_string(arguments.next().ok_or("usage: score_speed PREDICTIONS METRIC...")?)?;
    let (mut references, mut answers) = (Vec::new(), Vec::new());
    for line in file.lines() {
        let before = references.len();
        let answer = read(line, &mut references)?;
        answers.push((answer, before..references.len()));
    }
    let references: Vec<&str> = references.iter().map(|reference| &**reference).collect();
    for name in arguments {
        let metric = Metric::find(&name).ok_or_else(|| format!("unknown metric `{name}`"))?;
        let (mut sum, mut seconds) = (0.0, f64::MAX);
        for _ in 0..3 {
            let start = thread_seconds();
            sum = total(metric, &answers, &references)?;
            seconds = seconds.min(thread_seconds() - start);
        }
        println!("{name}\t{sum}\t{seconds:.4}");
    }
    Ok(())
}

/// The answer of a line. Its references go to those of all lines.
fn read<'a>(line: &'a str, references: &mut Vec<Cow<'a, str>>) -> Result<Cow<'a, str>, Error> {
    let Value::Object(members) = parse(line)?.value else { return Err("a line is not an object".into()) };
    let mut answer = None;
    for (key, value) in members {
        match (&*key, value) {
            ("answer", Value::String(text)) => answer = Some(text),
            ("references", Value::Array(texts)) => {
                let strings = texts.into_iter().filter_map(|text| match text {
                    Value::String(text) => Some(text),
                    _ => None,
                });
                references.extend(strings);
            }
            _ => {}
        }
    }
    Ok(answer.ok_or("a line has no answer")?)
}

/// The sum of the scores of all answers.
fn total(
    metric: Metric,
    answers: &[(Cow<'_, str>, Range<usize>)],
    references: &[&str],
) -> Result<f64, Error> {
    answers
        .iter()
        .try_fold(0.0, |sum, (answer, own)| Ok(sum + metric.score(answer, &references[own.clone()])?))
}

/// CPU time of this thread; where the system does not tell, time as it passes.
fn thread_seconds() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let scheduled = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = scheduled.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}
