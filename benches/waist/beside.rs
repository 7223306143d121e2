//! What the others take by what ours takes, row by row where all are asked the same.

use super::{commits, contended, crossing, fanout, keys, lookup, ours, range, session, system::System, watch};
use crate::support::{Run, figures::time};

/// The row of a system.
type RowOf = Box<dyn Fn(&dyn System) -> String>;

/// What is compared, in the order of the rows.
fn compared(run: &Run) -> Vec<(String, RowOf)> {
    let mut all: Vec<(String, RowOf)> = Vec::new();
    let plain =
        |title: String| (title.clone(), Box::new(move |one: &dyn System| format!("{title}/{}", one.name())) as RowOf);
    for size in commits::SIZES {
        let title = commits::title(size);
        all.push(plain(title.clone()));
        let row = move |one: &dyn System| format!("{title}/{}", commits::unchanged(one.name()));
        all.push((commits::unchanged(&commits::title(size)), Box::new(row)));
    }
    for overlap in crossing::OVERLAPS {
        for workers in crossing::WORKERS {
            for (what, named) in [("", false), (", if unchanged", true)] {
                let title = crossing::title(overlap);
                let what = format!("{title}, {workers} at once{what}");
                let row = move |one: &dyn System| {
                    // Where one holds a lock all the time, there is nothing to be unchanged: it is the same row.
                    let name = if named && one.is_optimistic() {
                        commits::unchanged(one.name())
                    } else {
                        one.name().to_owned()
                    };
                    contended::row(&title, workers, one.kind(), &name)
                };
                all.push((what, Box::new(row)));
            }
        }
    }
    all.push(plain(keys::ALONE.to_owned()));
    for workers in keys::WORKERS {
        let row = move |one: &dyn System| contended::row(keys::TOGETHER, workers, one.kind(), one.name());
        all.push((format!("{}, {workers} at once", keys::TOGETHER), Box::new(row)));
    }
    for entries in lookup::sizes(run) {
        all.push(plain(lookup::title(entries)));
    }
    for entries in range::SIZES {
        all.push(plain(range::title(entries)));
    }
    all.push(plain(range::BESIDE.to_owned()));
    all.push(plain(watch::ONE_PROCESS.to_owned()));
    all.push(plain(watch::TWO_PROCESSES.to_owned()));
    for watchers in fanout::WATCHERS {
        let row = move |one: &dyn System| fanout::row(watchers, one.name());
        all.push((format!("{}, {watchers} of them", fanout::SAME), Box::new(row)));
    }
    all.push(plain(session::RENEW.to_owned()));
    all
}

/// Adds the ratios to the figures and prints them.
pub fn finish(run: &mut Run, systems: &[&dyn System]) {
    let rivals = &systems[1..];
    let head: String = rivals.iter().map(|rival| format!("{:>14}", rival.name())).collect();
    println!("\nwhat the others take by what {} takes\n{:<56} {:>10}{head}", ours::NAME, "", ours::NAME);
    for (what, row) in compared(run) {
        let ours = row(systems[0]);
        let Some(nanoseconds) = run.figures.median(&ours) else {
            continue;
        };
        let mut line = format!("{what:<56} {:>10}", time(nanoseconds));
        for rival in rivals {
            let ratio = run.figures.ratio(&row(*rival), &ours);
            line += &ratio.map_or_else(|| format!("{:>14}", "-"), |ratio| format!("{ratio:>13.2}×"));
            if let Some(ratio) = ratio {
                run.figures.add(&format!("{what}: {} : {}", rival.name(), ours::NAME), "times", ratio);
            }
        }
        println!("{line}");
    }
}
