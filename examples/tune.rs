use lrpilot::env::*;
use lrpilot::report::record::RunRecord;
use lrpilot::run::child::*;
use lrpilot::run::learn::Learner;
use lrpilot::run::*;
use lrpilot::schedule::*;
use rayon::prelude::*;
use std::time::Instant;
fn iqm(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    let k = v.len() / 4;
    let w = &v[k..v.len() - k];
    w.iter().sum::<f64>() / w.len() as f64
}
fn finals(r: &Runner, m: &Method, seeds: std::ops::Range<u64>) -> Vec<RunRecord> {
    seeds.into_par_iter().map(|s| run_child(&mut *r.task().unwrap(), m, s, Record::Everything).unwrap()).collect()
}
fn show(name: &str, runs: &[RunRecord]) {
    let f: Vec<f64> =
        runs.iter().map(|r| r.curve.last().unwrap().val_loss_b).map(|x| if x.is_finite() { x } else { 10. }).collect();
    let t: Vec<f64> = runs.iter().map(|r| r.test_loss.unwrap_or(10.)).collect();
    let mean = f.iter().sum::<f64>() / f.len() as f64;
    println!(
        "{name}: iqm {:.4} mean {mean:.4} worst {:.4} test {:.4} div {}",
        iqm(f.clone()),
        f.iter().copied().fold(0.0, f64::max),
        iqm(t),
        runs.iter().filter(|r| r.diverged).count()
    );
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let task = &a[1];
    let mut seeds = 3u64;
    let root = std::env::var("LRPILOT_DATA").ok().map(std::path::PathBuf::from);
    let mut table = toml::Table::try_from(RunConfig::preset(task, Formulation::Pilot).unwrap()).unwrap();
    let mut base = false;
    for s in &a[2..] {
        if s == "base" {
            base = true;
            continue;
        }
        let (k, v) = s.split_once('=').unwrap();
        if k == "seeds" {
            seeds = v.parse().unwrap();
            continue;
        }
        let v: toml::Value = toml::from_str::<toml::Table>(&format!("x = {v}")).unwrap()["x"].clone();
        let mut t = &mut table;
        let ks: Vec<_> = k.split('.').collect();
        for k in &ks[..ks.len() - 1] {
            t = t.entry(k.to_string()).or_insert(toml::Value::Table(Default::default())).as_table_mut().unwrap();
        }
        t.insert(ks[ks.len() - 1].into(), v);
    }
    let config: RunConfig = table.try_into().unwrap();
    let runner = Runner::new(&config.task, root.as_deref()).unwrap();
    if base {
        let t0 = Instant::now();
        for lr in [0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3] {
            show(
                &format!("const {lr}"),
                &finals(&runner, &Method::OpenLoop { schedule: OpenLoop::Fixed {}, lr }, 1000..1020),
            );
        }
        let h = runner.spec().unwrap().horizon;
        for lr in [0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7] {
            show(
                &format!("cosine {lr}"),
                &finals(&runner, &Method::OpenLoop { schedule: OpenLoop::cosine(h), lr }, 1000..1020),
            );
            show(
                &format!("1cycle {lr}"),
                &finals(&runner, &Method::OpenLoop { schedule: OpenLoop::one_cycle(h), lr }, 1000..1020),
            );
            show(
                &format!("plateau {lr}"),
                &finals(
                    &runner,
                    &Method::Metric { schedule: MetricDriven::Plateau(Plateau::default()), lr },
                    1000..1020,
                ),
            );
        }
        println!("{:?}", t0.elapsed());
    }
    let t0 = Instant::now();
    let learned: Vec<(Learned, Vec<String>)> = (0..seeds)
        .into_par_iter()
        .map(|s| {
            let mut c = config.clone();
            c.seed = s;
            let mut l = Learner::new(c, runner.clone()).unwrap();
            let mut log = vec![];
            while l.updates_done() < l.updates_planned() {
                let r = l.update().unwrap();
                log.push(format!(
                    "{:.2}/{:.3}",
                    r.mean_return.unwrap_or(f64::NAN),
                    r.mean_final_val_loss.unwrap_or(f64::NAN)
                ));
            }
            (l.select().unwrap(), log)
        })
        .collect();
    println!("learn {:?}", t0.elapsed());
    let mut all = vec![];
    for (i, (p, log)) in learned.iter().enumerate() {
        println!("{}", log.join(" "));
        let runs = finals(&runner, &Method::Learned { policy: Box::new(p.clone()), lr: None }, 1000..1020);
        show(&format!("policy {i} sel {:?}", p.provenance().selection_loss), &runs);
        println!(
            "   {}",
            runs[0]
                .curve
                .iter()
                .step_by((runs[0].curve.len() / 12).max(1))
                .map(|c| format!("{:.3}", c.lr))
                .collect::<Vec<_>>()
                .join(" ")
        );
        all.extend(runs);
    }
    show("ALL", &all);
}
