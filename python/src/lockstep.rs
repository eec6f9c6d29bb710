//! Copies of a task in lockstep: each is trained in a thread of its own, and this one serves them all.

use crate::task::{Answer, Copies};
use lrpilot::agent::{Collector, RolloutExecutor, Slot, Trajectory};
use lrpilot::run::{Executor, JobSpec, StopFlag, Trial};
use lrpilot::{Error, Result, TaskSource};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a copy wants of Python.
pub enum Ask {
    /// Begin anew with this seed.
    Reset(u64),
    /// Train an interval with this learning rate.
    Advance(f64),
    /// Its state.
    Save,
    /// Be put back to this state.
    Load(Vec<u8>),
    /// Its loss on data held back for the choice between policies.
    Evaluate,
}

enum Message {
    Asked(Waiting),
    /// A thread is done.
    Left,
}

struct Waiting {
    copy: usize,
    ask: Ask,
    reply: Sender<Result<Answer>>,
}

/// The thread of a copy in lockstep. Dropped, it tells that the thread is done, after a panic, too.
struct Client {
    copy: usize,
    send: Sender<Message>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Nobody is told if nobody waits.
        let _ = self.send.send(Message::Left);
    }
}

thread_local! {
    static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
}

/// The copy that this thread trains; `None` outside of the lockstep.
pub fn copy() -> Option<usize> {
    CLIENT.with_borrow(|client| client.as_ref().map(|c| c.copy))
}

/// Ask Python for one copy: through the thread that serves the lockstep, or from this one.
pub fn ask(copies: &Copies, copy: usize, ask: Ask) -> Result<Answer> {
    let Some(send) = CLIENT.with_borrow(|client| client.as_ref().map(|c| c.send.clone())) else {
        return only(copies.answer(&[(copy, ask)])?);
    };
    let (reply, answer) = channel();
    // If nobody serves any more, there is no answer either.
    let _ = send.send(Message::Asked(Waiting { copy, ask, reply }));
    answer.recv().unwrap_or_else(|_| Err(Error::interrupted()))
}

fn only(answers: Vec<Answer>) -> Result<Answer> {
    answers.into_iter().next().ok_or_else(|| Error::Bug("Python was asked and gave no answer".into()))
}

/// Does the learner's work with all copies at once.
pub struct Lockstep(pub Arc<Copies>);

impl Lockstep {
    /// `work(i, item)` for each item, in the thread of copy `i`; there are at most as many items as copies.
    fn each<I: Send, T: Send>(&self, items: Vec<I>, work: impl Fn(usize, I) -> Result<T> + Sync) -> Result<Vec<T>> {
        let (send, receive) = channel();
        let (count, work) = (items.len(), &work);
        std::thread::scope(|scope| {
            let start = |(copy, item)| {
                let client = Client { copy, send: send.clone() };
                scope.spawn(move || {
                    CLIENT.set(Some(client));
                    let result = work(copy, item);
                    CLIENT.set(None);
                    result
                })
            };
            let threads: Vec<_> = items.into_iter().enumerate().map(start).collect();
            let served = self.serve(count, &receive);
            let results: Vec<_> = threads.into_iter().map(|t| t.join()).collect();
            served?;
            let crashed = |_| Error::Bug("the thread of a task ended early".into());
            results.into_iter().map(|joined| joined.map_err(crashed)?).collect()
        })
    }

    /// Answer `living` threads until all are done. What concerns one copy is answered at once. Training waits until all
    /// want to train, so that it is done together; copies that begin anew come first, and then train with the others. After
    /// an error of Python nobody is answered any more.
    fn serve(&self, mut living: usize, receive: &Receiver<Message>) -> Result<()> {
        let mut waiting = Vec::new();
        let mut failed = None;
        while living > 0 {
            match receive.recv() {
                Ok(Message::Left) => living -= 1,
                Ok(Message::Asked(_)) if failed.is_some() => continue,
                Ok(Message::Asked(w)) if matches!(w.ask, Ask::Reset(_) | Ask::Advance(_)) => waiting.push(w),
                Ok(Message::Asked(w)) => failed = self.answer(vec![w]).err(),
                Err(_) => break,
            }
            if !waiting.is_empty() && waiting.len() == living {
                let resets: Vec<_> = waiting.extract_if(.., |w| matches!(w.ask, Ask::Reset(_))).collect();
                let now = if resets.is_empty() { std::mem::take(&mut waiting) } else { resets };
                failed = failed.or(self.answer(now).err());
            }
            if failed.is_some() {
                waiting.clear();
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn answer(&self, mut of: Vec<Waiting>) -> Result<()> {
        of.sort_by_key(|w| w.copy);
        let (asks, replies): (Vec<_>, Vec<_>) = of.into_iter().map(|w| ((w.copy, w.ask), w.reply)).unzip();
        for (reply, answer) in replies.into_iter().zip(self.0.answer(&asks)?) {
            // A thread that is gone needs no answer.
            let _ = reply.send(Ok(answer));
        }
        Ok(())
    }
}

impl RolloutExecutor for Lockstep {
    fn rollouts(
        &self,
        collector: &Collector,
        slots: &mut [Slot],
        on_steps: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Trajectory>> {
        Lockstep::each(self, slots.iter_mut().collect(), |_, slot: &mut Slot| collector.collect(slot, on_steps))
    }
}

impl Executor for Lockstep {
    fn trials(
        &self,
        source: &dyn TaskSource,
        jobs: &[&JobSpec],
        stop: &StopFlag,
        sink: &(dyn Fn(usize, Trial) -> Result<()> + Sync),
    ) -> Result<()> {
        let copies = self.0.count();
        let work = |copy: usize, ()| {
            (copy..jobs.len()).step_by(copies).try_for_each(|i| sink(i, jobs[i].train(source, stop)?))
        };
        Lockstep::each(self, vec![(); copies.min(jobs.len())], work).map(|_| ())
    }

    fn each(&self, count: usize, work: &(dyn Fn(usize) -> Result<()> + Sync)) -> Result<()> {
        (0..count).try_for_each(work)
    }
}
