//! What is required: the rate, the freeze, the exact merge, and memory that stays.

use std::path::Path;
use std::time::{Duration, Instant};

use sre::interrupt::Interrupt;
use sre::load::{Job, Team, processes};

use crate::client::{self, Order, order, replica};
use crate::page::{Row, Section};
use crate::process::resident;
use crate::server::Server;

fn at(server: &Server, rate: f64, seconds: f64) -> Order {
    Order { url: server.url.clone(), rate, seconds, connections: 256, stop_after: None }
}

/// The rate that was asked for is the rate that is sent.
pub fn pacing(server: &Server) -> Section {
    let mut section = Section::new(
        "The rate",
        "Each request leaves at its time in the schedule. Time after due: the median of how much longer it took since \
         it was due than since it was written.",
    );
    for rate in [100.0, 1_000.0, 5_000.0, 10_000.0] {
        let (counted, (sent, _)) = server.counted(|| order(&at(server, rate, 5.0), |_| {}));
        let (summary, times) = (&sent.summary, &sent.summary.total.times);
        let reached = summary.total.sent as f64 / summary.seconds.max(5.0);
        let late = (times.since_due.p50 - times.service.p50) * 1000.0;
        let equal = counted == summary.total.sent;
        let kept = (reached / rate - 1.0).abs() <= 0.01 && equal && summary.overload.is_none();
        let mut told = format!("{reached:.1}/s, {late:.0} µs after due");
        if !equal {
            told += &format!("; nginx counted {counted} of {}", summary.total.sent);
        }
        if let Some(overload) = &summary.overload {
            told += &format!("; overloaded: {}", overload.reason);
        }
        section.row(Row::required(&format!("{rate:.0}/s for 5 s"), told, "within 1 %", kept));
    }
    section
}

/// A server that answers nothing for two seconds is seen as one.
pub fn freeze(server: &Server) -> Section {
    let mut section = Section::new(
        "A freeze",
        "nginx is stopped for 2 s of 10 s at 1,000/s. Of 10,000 requests 2,000 wait, evenly from 2 s down to nothing: \
         in theory p90 is 1,000 ms and p99 1,900 ms. What waited has to be answered first; that time, the drain, was \
         measured by 2,000 requests that are due at once.",
    );
    let burst = Order { seconds: 0.02, ..at(server, 100_000.0, 0.02) };
    let drain = order(&burst, |_| {}).0.summary.total.times.since_due.max;
    let (sent, _) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(4_000));
            server.freeze(Duration::from_secs(2));
        });
        order(&at(server, 1_000.0, 10.0), |_| {})
    });
    let times = &sent.summary.total.times;
    section.row(Row::told("the drain", format!("{drain:.0} ms")));
    section.row(Row::required(
        "p90 since due",
        format!("{:.0} ms", sent.p90),
        "1,000 ms within 2 %, and the drain",
        (980.0..=1_020.0 + drain).contains(&sent.p90),
    ));
    section.row(Row::required(
        "p99 since due",
        format!("{:.0} ms", sent.p99),
        "1,900 ms within 2 %",
        (sent.p99 / 1_900.0 - 1.0).abs() <= 0.02,
    ));
    section.row(Row::told(
        "p90 of the service time",
        format!(
            "{:.2} ms: what a generator tells that does not know when requests were due",
            times.service.p90
        ),
    ));
    section
}

/// Four workers are one load.
pub fn merge(server: &Server) -> Section {
    let mut section = Section::new("Workers", "Four processes send one load; their counts are merged.");
    let scenario = client::scenario(&at(server, 2_000.0, 3.0));
    let interrupt = Interrupt::default();
    let program = Path::new(env!("CARGO_BIN_EXE_sre"));
    let replicas = [replica(&server.url)];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (counted, result) = server.counted(|| {
        runtime.block_on(async {
            let workers = processes(program.as_os_str(), 4)?;
            let job = Job { workers, replicas: &replicas, salt: "bench" };
            let team = Team::start(job, &scenario, &interrupt).await?;
            team.run(Instant::now() + Duration::from_millis(500), &interrupt, &|_| {}, &|_| {}).await
        })
    });
    let (told, equal) = match result {
        Ok(result) => {
            let total = &result.summary.total;
            let all = [total.sent, total.times.since_due.count, counted];
            (format!("{} sent, {} timed, {} counted by nginx", all[0], all[1], all[2]), all == [6_000; 3])
        }
        Err(error) => (error.to_string(), false),
    };
    section.row(Row::required("2,000/s for 3 s from 4 workers", told, "6,000, three times", equal));
    section
}

/// A long load takes no more memory than a short one.
pub fn memory(server: &Server) -> Section {
    let mut section = Section::new("Memory", "Resident memory of a process that sends 2,000/s.");
    let began = Instant::now();
    let mut seen = Vec::new();
    order(&at(server, 2_000.0, 61.0), |pid| {
        seen.extend(resident(pid).map(|memory| (began.elapsed().as_secs_f64(), memory)));
    });
    let at = |second: f64| seen.iter().find(|(at, _)| *at >= second).map_or(f64::NAN, |(_, memory)| *memory);
    let (early, late) = (at(10.0), at(60.0));
    let grown = (late / early - 1.0) * 100.0;
    section.row(Row::goal(
        "after 10 s and after 60 s",
        format!("{early:.1} MiB and {late:.1} MiB: {grown:+.1} %"),
        "within 5 %",
        grown.is_finite().then(|| grown.abs() <= 5.0),
    ));
    section
}
