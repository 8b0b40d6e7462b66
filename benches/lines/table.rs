//! What is printed: a line as soon as a run ends, JSON where that is asked for, and the table.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bounds::{Summary, is_judged};
use crate::outcome::{Outcome, Verdict};
use crate::row::Row;

/// One run as JSON. `raw` is the wall of the plain socket in the same round.
pub(crate) fn json(row: &Row, outcome: &Outcome, round: u32, raw: Option<Duration>) -> Value {
    let seconds = |time: Duration| time.as_secs_f64();
    json!({
        "row": outcome.row,
        "contestant": outcome.contestant.name(),
        "round": round,
        "seed": outcome.seed,
        "verdict": word(&outcome.verdict),
        "message": message(&outcome.verdict),
        "wall_s": outcome.wall.as_secs_f64(),
        "raw_s": raw.map(seconds),
        "possible_s": raw.map(|raw| seconds(row.possible(raw))),
        "body_bytes": outcome.body_bytes,
        "second": outcome.more.second,
        "size": outcome.size,
        "cpu_s": outcome.cpu_s,
        "memory_mib": outcome.memory_mib,
        "back_s": outcome.more.back().map(seconds),
        "kills": outcome.more.kills,
        "uploads": outcome.more.uploads,
        "faults": outcome.more.news,
    })
}

/// One run as a line for people.
pub(crate) fn line(row: &Row, outcome: &Outcome) -> String {
    let seed = match row.seeds {
        1 => String::new(),
        _ => format!("seed {} ", outcome.seed),
    };
    let mut line = format!(
        "  {:<14} {:<10} {seed}{:<8} {:8.2} s  sent {}  {}",
        row.name,
        outcome.contestant.name(),
        word(&outcome.verdict),
        outcome.wall.as_secs_f64(),
        share(outcome.body_bytes, outcome.size),
        message(&outcome.verdict),
    );
    if let Some(second) = outcome.more.second {
        let body = share(Some(second.body_bytes), outcome.size);
        let failed = second.failed_requests;
        line += &format!(" the second {body}, {failed} requests failed");
    }
    let words = outcome.more.words();
    if !words.is_empty() {
        line += &format!("  [{words}]");
    }
    line.trim_end().to_owned()
}

/// The table, in Markdown: every row and contestant with all its runs as one. The last column says
/// of haul whether what must hold does.
pub(crate) fn table(rows: &[Row], outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| line | who | verdict | wall, s | wall ÷ possible | extra, s | body ÷ size | CPU, s | peak MiB | holds |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for row in rows {
        let mut story = row.story;
        for contestant in row.contestants {
            if let Some(summary) = Summary::new(row, *contestant, outcomes) {
                table += &cells(row, story, &summary);
                // A row's story stands on its first line only.
                story = "";
            }
        }
    }
    table
}

/// What does not hold, one line each.
pub(crate) fn misses(rows: &[Row], outcomes: &[Outcome]) -> Vec<String> {
    let mut misses = Vec::new();
    for row in rows {
        for contestant in row.contestants.iter().filter(|one| is_judged(**one)) {
            if let Some(summary) = Summary::new(row, *contestant, outcomes) {
                let name = contestant.name();
                let said = summary.misses(&row.must);
                misses.extend(
                    said.iter()
                        .map(|miss| format!("{}, {name}: {miss}", row.name)),
                );
            }
        }
    }
    misses
}

/// One line of the table.
fn cells(row: &Row, story: &str, summary: &Summary) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let (ratio, extra) = summary.against_possible().unzip();
    let mut body = number(summary.body, 3);
    if summary.second_body.is_some() {
        body += &format!(", then {}", number(summary.second_body, 3));
    }
    let contestant = summary.runs[0].contestant;
    let misses = summary.misses(&row.must);
    let holds = match (is_judged(contestant) && !row.must.is_empty(), &misses[..]) {
        (false, _) => String::new(),
        (true, []) => "yes".to_owned(),
        (true, misses) => format!("NO: {}", misses.join(", ")),
    };
    format!(
        "| {story} | {} | {} | {:.1} | {} | {} | {body} | {:.2} | {:.1} | {holds} |\n",
        contestant.name(),
        verdicts(&summary.runs),
        summary.wall_s,
        number(ratio, 3),
        number(extra, 1),
        summary.cpu_s,
        summary.memory_mib,
    )
}

/// The verdict of all runs, which may differ.
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

fn share(body_bytes: Option<u64>, size: u64) -> String {
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
