//! Clocks, threads and memory of the measurements.

use lrpilot::{Error, Result};
use std::sync::Barrier;
use std::time::Instant;

/// Prepare and measure `threads` copies of some work side by side and add up their rates.
///
/// Each copy has a pool of one thread, so that none finds a second core to use; all are prepared before the first starts.
pub fn side_by_side<S>(
    threads: usize,
    prepare: impl Fn(u64) -> Result<S> + Sync,
    rate: impl Fn(S) -> Result<f64> + Sync,
) -> Result<f64> {
    let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pools: Vec<_> =
        (0..threads).map(pool).collect::<Result<_, _>>().map_err(|e| Error::Bug(format!("no thread pool: {e}")))?;
    let start = Barrier::new(threads);
    let copy = |index: usize| {
        let prepared = prepare(index as u64);
        // Also after an error, or the others would wait for ever.
        start.wait();
        rate(prepared?)
    };
    std::thread::scope(|scope| {
        let copy = &copy;
        let copies: Vec<_> =
            pools.iter().enumerate().map(|(i, pool)| scope.spawn(move || pool.install(|| copy(i)))).collect();
        copies.into_iter().map(|c| c.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    })
}

/// Repeat `piece`, which returns how much it did, for about `seconds`; returns the amount done per second.
pub fn repeat(seconds: f64, mut piece: impl FnMut() -> Result<f64>) -> Result<f64> {
    let start = Instant::now();
    let mut done = 0.0;
    loop {
        done += piece()?;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(done / elapsed);
        }
    }
}

/// The largest resident set of this process so far, in MiB, where the system tells it (Linux).
pub fn peak_rss_mib() -> Option<f64> {
    status_mib("VmHWM:")
}

/// The resident set of this process now, in MiB, where the system tells it (Linux).
pub fn rss_mib() -> Option<f64> {
    status_mib("VmRSS:")
}

fn status_mib(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(kib.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
