//! What is printed: a line as soon as a run ends, JSON where that is asked for, and the table.

use std::time::Duration;

use serde_json::{Value, json};

use crate::contestant::Contestant;
use crate::row_run::{Outcome, Verdict};
use crate::rows::Row;

/// One run as JSON. `raw` is the wall of the plain socket in the same round.
pub(crate) fn json(outcome: &Outcome, round: u32, raw: Option<Duration>) -> Value {
    json!({
        "row": outcome.row,
        "contestant": outcome.contestant.name(),
        "round": round,
        "verdict": word(&outcome.verdict),
        "message": message(&outcome.verdict),
        "wall_s": outcome.wall.as_secs_f64(),
        "raw_s": raw.map(|raw| raw.as_secs_f64()),
        "body_bytes": outcome.body_bytes,
        "size": outcome.size,
        "cpu_s": outcome.cpu_s,
        "memory_mib": outcome.memory_mib,
        "faults": outcome.faults,
    })
}

/// One run as a line for people.
pub(crate) fn line(outcome: &Outcome) -> String {
    let mut line = format!(
        "  {:<10} {:<9} {:8.2} s  sent {}  {}",
        outcome.contestant.name(),
        word(&outcome.verdict),
        outcome.wall.as_secs_f64(),
        sent(outcome.body_bytes, outcome.size),
        message(&outcome.verdict),
    );
    if !outcome.faults.is_empty() {
        line += &format!("  [{}]", outcome.faults.join(", "));
    }
    line.trim_end().to_owned()
}

/// The table, in Markdown: for every row and contestant the median of its rounds.
pub(crate) fn table(rows: &[Row], outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| line | who | verdict | wall, s | wall ÷ raw | body ÷ size | CPU, s | peak MiB |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        let mut story = row.story;
        for contestant in row.contestants {
            let runs: Vec<&Outcome> = outcomes
                .iter()
                .filter(|outcome| outcome.row == row.name && outcome.contestant == *contestant)
                .collect();
            if runs.is_empty() {
                continue;
            }
            table += &cells(story, &runs, raw_wall(row, outcomes));
            // A row's story stands on its first line only.
            story = "";
        }
    }
    table
}

/// One line of the table.
fn cells(story: &str, runs: &[&Outcome], raw: Option<f64>) -> String {
    let one = |value: &dyn Fn(&Outcome) -> f64| median(runs.iter().map(|run| value(run)));
    let wall = one(&|run| run.wall.as_secs_f64());
    let is_whole = runs.iter().all(|run| run.verdict.is_done());
    // The wall of a failure is no achievement.
    let ratio = match raw {
        Some(raw) if is_whole => format!("{:.3}", wall / raw),
        _ => "–".to_owned(),
    };
    let size = runs[0].size;
    let body = runs[0]
        .body_bytes
        .map(|_| one(&|run| run.body_bytes.unwrap_or(0) as f64) as u64);
    format!(
        "| {story} | {} | {} | {wall:.1} | {ratio} | {} | {:.2} | {:.1} |\n",
        runs[0].contestant.name(),
        verdicts(runs),
        sent(body, size),
        one(&|run| run.cpu_s),
        one(&|run| run.memory_mib),
    )
}

/// The verdict of all rounds, which may differ.
fn verdicts(runs: &[&Outcome]) -> String {
    let mut words: Vec<(&str, usize)> = Vec::new();
    for run in runs {
        let word = word(&run.verdict);
        match words.iter_mut().find(|(other, _)| *other == word) {
            Some((_, count)) => *count += 1,
            None => words.push((word, 1)),
        }
    }
    match &words[..] {
        [(word, _)] => (*word).to_owned(),
        _ => {
            let each = words
                .iter()
                .map(|(word, count)| format!("{count} × {word}"));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The median wall of the plain socket, when it came through.
fn raw_wall(row: &Row, outcomes: &[Outcome]) -> Option<f64> {
    let walls: Vec<f64> = outcomes
        .iter()
        .filter(|outcome| outcome.row == row.name && outcome.contestant == Contestant::Raw)
        .filter(|outcome| outcome.verdict.is_done())
        .map(|outcome| outcome.wall.as_secs_f64())
        .collect();
    (!walls.is_empty()).then(|| median(walls.into_iter()))
}

/// The middle one; of an even number the lower of both.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

fn sent(body_bytes: Option<u64>, size: u64) -> String {
    body_bytes.map_or("–".to_owned(), |bytes| {
        format!("{:.3}", bytes as f64 / size as f64)
    })
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "done",
        Verdict::Failed(_) => "fails",
        Verdict::Hangs => "hangs",
        Verdict::Wrong => "LIES",
        Verdict::NotRun(_) => "not run",
    }
}

fn message(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Failed(why) | Verdict::NotRun(why) => why,
        Verdict::Hangs => "stopped by the bench",
        Verdict::Wrong => "says it is done, but the object is not the file",
        Verdict::Done => "",
    }
}
