//! Questions and answers over messages, with callbacks by id (the seed's 回调ID): each question carries a number, its answer
//! brings it back, and the callback of that number fires, once, whatever happens.
//!
//! ```sh
//! cargo run -p xxnet-runtime-mio --example request_reply                              # both ends, in one process
//! cargo run -p xxnet-runtime-mio --example request_reply -- serve 127.0.0.1:7803
//! cargo run -p xxnet-runtime-mio --example request_reply -- ask 127.0.0.1:7803 3 4 5
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xxnet_core::pack::Value;
use xxnet_core::{Address, ClusterKey, Dict};
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{NetEvent, NetOptions, Payload, SendError};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Both ends need the same key. This one is no secret: it stands here.
const KEY: ClusterKey = ClusterKey(*b"the key of an example, no secret");

/// What a question ends with: the answer, or why there is none.
pub(crate) type Answer = std::result::Result<Value, String>;

type Callback = Box<dyn FnOnce(Answer) + Send>;

/// Answers questions until its net is shut down.
pub(crate) fn serve(net: &Net, answer: impl Fn(&Value) -> Answer) {
    for message in net.iter() {
        let Ok(asked) = message.dict() else { continue };
        let (Some(callback), Some(question)) = (asked.get("callback"), asked.get("question")) else {
            continue;
        };
        let told = match answer(question) {
            Ok(value) => ("answer", value),
            Err(error) => ("error", error.into()),
        };
        // If the asker is gone nobody waits for it.
        let _ = net.send(message.from(), Dict::from([("callback", callback.clone()), told]));
    }
}

/// Asks one service.
pub(crate) struct Asker {
    net: Net,
    service: Address,
    waiting: Arc<Mutex<Waiting>>,
}

/// Callbacks that have not fired, by their ids.
#[derive(Default)]
struct Waiting {
    callbacks: BTreeMap<i64, Callback>,
    last: i64,
}

/// Fires the callback of that id. It is taken out first: so it fires once, whoever comes second.
fn fire(waiting: &Mutex<Waiting>, id: Option<i64>, answer: Answer) {
    let callback =
        id.and_then(|id| waiting.lock().unwrap_or_else(PoisonError::into_inner).callbacks.remove(&id));
    if let Some(callback) = callback {
        callback(answer);
    }
}

fn id_of(dict: &Dict) -> Option<i64> {
    dict.get("callback")?.as_int()
}

impl Asker {
    /// Asks the service there; nothing is dialled before the first question.
    pub(crate) fn new(net: Net, service: Address) -> Self {
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (hears, answered) = (net.clone(), Arc::clone(&waiting));
        std::thread::spawn(move || {
            for message in hears.iter() {
                let Ok(mut told) = message.dict() else { continue };
                let answer = match (told.remove("answer"), told.remove("error")) {
                    (Some(answer), _) => Ok(answer),
                    (None, error) => {
                        Err(error.as_ref().and_then(Value::as_str).unwrap_or("no answer").into())
                    }
                };
                fire(&answered, id_of(&told), answer);
            }
        });
        // A question that was not delivered gets no answer; one whose session is over gets none either.
        let (events, failed) = (net.events(), Arc::clone(&waiting));
        std::thread::spawn(move || {
            while let Ok(event) = events.next() {
                match event {
                    NetEvent::Undelivered { messages, reason, .. } => {
                        for message in messages {
                            let Payload::Dict(asked) = message else { continue };
                            fire(&failed, id_of(&asked), Err(reason.to_string()));
                        }
                    }
                    NetEvent::Disconnected { reason, .. } => {
                        // Who had taken a question and ended before the answer gives none. What is asked just now may
                        // fail along, though it is on its way: that a question failed never says that it was not heard.
                        let ids: Vec<_> = {
                            let waiting = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            waiting.callbacks.keys().copied().collect()
                        };
                        ids.into_iter().for_each(|id| fire(&failed, Some(id), Err(reason.to_string())));
                    }
                    _ => {}
                }
            }
        });
        Self { net, service, waiting }
    }

    /// Asks, and returns at once. The callback fires on another thread.
    pub(crate) fn ask(
        &self,
        question: impl Into<Value>,
        callback: impl FnOnce(Answer) + Send + 'static,
    ) -> std::result::Result<(), SendError> {
        let id = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.last += 1;
            let id = waiting.last;
            waiting.callbacks.insert(id, Box::new(callback));
            id
        };
        let question = Dict::from([("callback", id.into()), ("question", question.into())]);
        self.net.send(&self.service, question).inspect_err(|_| {
            // The caller hears it here.
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).callbacks.remove(&id);
        })
    }
}

fn square(question: &Value) -> Answer {
    let number = question.as_int().ok_or("the question is no whole number")?;
    number.checked_mul(number).map(Value::Int).ok_or_else(|| format!("the square of {number} is too large"))
}

fn ask_all(service: Address, numbers: &[i64]) -> Result<()> {
    let net = Net::start(NetOptions::new(KEY))?;
    let asker = Asker::new(net.clone(), service);
    let (told, answers) = channel();
    for number in numbers.iter().copied() {
        let told = told.clone();
        asker.ask(number, move |answer| _ = told.send((number, answer)))?;
    }
    drop(told);
    for (number, answer) in answers {
        match answer {
            Ok(value) => println!("{number} squared is {value:?}"),
            Err(error) => println!("{number}: {error}"),
        }
    }
    net.shutdown(Duration::from_secs(1));
    Ok(())
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let service = || Net::start(NetOptions::new(KEY));
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", at] => {
            let net = service()?;
            println!("listening on {}", net.listen(*at)?);
            serve(&net, square);
        }
        ["ask", to, numbers @ ..] => {
            let numbers =
                numbers.iter().map(|number| number.parse()).collect::<std::result::Result<Vec<_>, _>>()?;
            ask_all(to.parse()?, &numbers)?;
        }
        [] => {
            let net = service()?;
            let at = net.listen("127.0.0.1:0")?;
            let serving = net.clone();
            std::thread::spawn(move || serve(&serving, square));
            ask_all(at, &[3, 4, i64::MAX])?;
            net.shutdown(Duration::from_secs(1));
        }
        _ => return Err("say nothing, `serve ADDR`, or `ask ADDR NUMBER…`".into()),
    }
    Ok(())
}
