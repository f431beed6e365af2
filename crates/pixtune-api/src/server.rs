//! A server: its data directory, its models, the jobs that it runs, and the address that it listens on.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use pixtune_files::{DirectoryLock, LockError};
use ring::hmac;
use tokio::sync::watch;

use crate::answer::Models;
use crate::api::{Api, Limits};
use crate::batch;
use crate::blobs::DataDirectory;
use crate::catalog::{Catalog, CatalogError};
use crate::clock::now;
use crate::handlers::files;
use crate::http::{Access, ListenError, Listener, Observed, Service};
use crate::ids;
use crate::log::LogEntry;
use crate::run::{Signal, Supervisor, Trainer};
use crate::store::{Job, Level, NewEvent, NewModel, Store, StoreError};
use crate::streams::Batches;
use crate::upstream::{Asked, Upstream, UpstreamOptions};
use crate::vendor::Vendor;
use crate::webhooks;

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is kept.
    pub data: PathBuf,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Directories of base models, each perhaps with a name.
    pub models: Vec<(Option<String>, PathBuf)>,
    /// Other names of base models.
    pub aliases: Vec<(String, String)>,
    /// Where jobs run, one at a time each.
    pub slots: Vec<String>,
    /// What trains.
    pub trainer: Trainer,
    /// The vendor of `/v1`; `None` tells requests apart.
    pub vendor: Option<Vendor>,
    /// Limits of requests.
    pub limits: Limits,
    /// A server that answers in place of the models on this machine.
    pub upstream: Option<UpstreamOptions>,
    /// Models that are loaded at the same time.
    pub loaded_models: usize,
    /// Gets an entry for each request and for each failure in the background.
    pub log: fn(&LogEntry<'_>),
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory `{}`", path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server uses the data directory.
    #[error("another server uses the data directory `{}`", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The upstream server cannot be used.
    #[error("{0}")]
    Upstream(String),
    /// The address cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Other machines could connect without a key.
    #[error("{0} can be reached from other machines, and the server has no keys")]
    NoKeys(SocketAddr),
    /// The system gives no threads.
    #[error("cannot start threads")]
    Threads {
        /// Why.
        source: io::Error,
    },
}

/// A server that is ready to answer.
pub struct Server {
    listener: Listener,
    router: Router,
    runtime: tokio::runtime::Runtime,
    workers: [thread::JoinHandle<()>; 3],
    signals: [Arc<Signal>; 3],
    _lock: DirectoryLock,
}

/// How often expired files are removed.
const CLEANING: Duration = Duration::from_secs(60);

impl Server {
    /// Opens the data directory, takes over its jobs, and listens.
    pub fn start(options: &Options) -> Result<Server, ServeError> {
        let failed = |source| ServeError::Data { path: options.data.clone(), source };
        fs::create_dir_all(&options.data).map_err(failed)?;
        let root = options.data.canonicalize().map_err(failed)?;
        let lock = DirectoryLock::acquire(&root).map_err(|error| match error {
            LockError::Held { path } => ServeError::Locked { path },
            LockError::Io { path, source } => ServeError::Data { path, source },
        })?;
        let store = Arc::new(Store::open(&root)?);
        let is_local = options.listen.ip().is_loopback();
        if !is_local && !store.has_keys()? {
            return Err(ServeError::NoKeys(options.listen));
        }
        let catalog = Arc::new(Catalog::open(&options.models, &options.aliases)?);
        let data = DataDirectory::open(&root).map_err(failed)?;
        let (changes, _) = watch::channel(0);
        let signal = Arc::new(Signal::default());
        let upstream = options.upstream.clone().map(|options| Upstream::new(options, root.join("upstream")));
        let upstream = upstream.transpose().map_err(ServeError::Upstream)?.map(Arc::new);
        let batch_signal = Arc::new(Signal::default());
        let api = Arc::new(Api {
            store: Arc::clone(&store),
            data: data.clone(),
            catalog: Arc::clone(&catalog),
            models: Models::new(options.loaded_models, options.limits.threads),
            upstream,
            signal: Arc::clone(&signal),
            batch_signal: Arc::clone(&batch_signal),
            changes: Arc::new(changes),
            batches: Batches::default(),
            streams: AtomicU64::new(0),
            early_checks: Arc::default(),
            trainer: options.trainer.clone(),
            slots: options.slots.clone(),
            limits: options.limits,
            secret: secret(&root).map_err(failed)?,
            started_at: now(),
        });
        let notices = Arc::new(Signal::default());
        let workers = [
            supervise(options, &api)?,
            answer_batches(options, &api)?,
            send_notices(options, &api, &notices)?,
        ];
        let threads = |source| ServeError::Threads { source };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(threads)?;
        let listener = runtime.block_on(Listener::bind(options.listen))?;
        let observed = Arc::new(Observed::default());
        let access = Access { vendor: options.vendor, is_local };
        let service = Arc::new(Service::new(Arc::clone(&api), access, Arc::clone(&observed), options.log));
        runtime.spawn(clean(Arc::clone(&api)));
        let router = router(service);
        Ok(Server {
            listener,
            router,
            runtime,
            workers,
            signals: [signal, batch_signal, notices],
            _lock: lock,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Answers until `ends` returns, then lets requests under way end. Jobs go on, and the next server follows them.
    pub fn run(self, ends: impl FnOnce() + Send + 'static) {
        let (ending, ended) = watch::channel(false);
        thread::spawn(move || {
            ends();
            ending.send_replace(true);
        });
        self.runtime.block_on(self.listener.serve(self.router, ended));
        self.signals.iter().for_each(|signal| signal.end());
        for worker in self.workers {
            let _ = worker.join();
        }
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

fn supervise(options: &Options, api: &Arc<Api>) -> Result<thread::JoinHandle<()>, ServeError> {
    let changes = Arc::clone(&api.changes);
    let supervisor = Supervisor {
        store: Arc::clone(&api.store),
        data: api.data.clone(),
        catalog: Arc::clone(&api.catalog),
        trainer: options.trainer.clone(),
        slots: options.slots.clone(),
        min_free: options.limits.min_free,
        log: options.log,
        changed: Box::new(move || changes.send_modify(|count| *count += 1)),
        made: Box::new(load_upstream(api)),
        signal: Arc::clone(&api.signal),
    };
    let thread = thread::Builder::new().name("jobs".to_owned()).spawn(move || supervisor.run());
    thread.map_err(|source| ServeError::Threads { source })
}

fn answer_batches(options: &Options, api: &Arc<Api>) -> Result<thread::JoinHandle<()>, ServeError> {
    let (api, log) = (Arc::clone(api), options.log);
    let log = move |text: &str| log(&LogEntry::Failure { text });
    let thread = thread::Builder::new().name("batches".to_owned()).spawn(move || batch::run(&api, &log));
    thread.map_err(|source| ServeError::Threads { source })
}

fn send_notices(
    options: &Options,
    api: &Arc<Api>,
    signal: &Arc<Signal>,
) -> Result<thread::JoinHandle<()>, ServeError> {
    let (store, signal, log) = (Arc::clone(&api.store), Arc::clone(signal), options.log);
    let log = move |text: &str| log(&LogEntry::Failure { text });
    let thread = thread::Builder::new()
        .name("webhooks".to_owned())
        .spawn(move || webhooks::run(&store, &signal, &log));
    thread.map_err(|source| ServeError::Threads { source })
}

/// Loads the model of a job that has succeeded on the upstream server, so that its first chat does not wait for that. A model
/// that cannot be loaded is an event of its job.
fn load_upstream(api: &Arc<Api>) -> impl Fn(&Job, &NewModel) + Send + Sync + use<> {
    let api = Arc::clone(api);
    move |job: &Job, model: &NewModel| {
        let Some(upstream) = api.upstream.clone() else { return };
        let (api, job, model) = (Arc::clone(&api), job.clone(), model.clone());
        thread::spawn(move || {
            let Some(base) = api.catalog.find(&job.model).filter(|base| upstream.answers(base)) else {
                return;
            };
            let asked = Asked { id: &model.id, base, adapter: Some(&model.adapter) };
            let event = match upstream.load(asked) {
                Ok(()) => NewEvent::message(Level::Info, "The model is loaded on the upstream server"),
                Err(error) => NewEvent::message(Level::Warn, error.message),
            };
            // The event is for people; chats report the same reason.
            let _ = api.store.add_events(job.seq, &[event], None);
            api.changed();
        });
    }
}

fn router(service: Arc<Service>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    })
}

/// The key that signs addresses, made at the first start.
fn secret(root: &Path) -> io::Result<hmac::Key> {
    let path = root.join("secret");
    let bytes = match fs::read(&path) {
        Ok(bytes) if bytes.len() == 32 => bytes,
        _ => {
            let bytes = ids::random::<32>().to_vec();
            write_private(&path, &bytes)?;
            bytes
        }
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    pixtune_files::remove(&new)?;
    let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Removes expired files and uploads, and restores the space that is kept for a full disk.
async fn clean(api: Arc<Api>) {
    loop {
        tokio::time::sleep(CLEANING).await;
        let api = Arc::clone(&api);
        // What fails now is tried again a minute later.
        let _ = tokio::task::spawn_blocking(move || clean_once(&api)).await;
    }
}

fn clean_once(api: &Api) {
    for (project, id) in api.store.expired_files().unwrap_or_default() {
        if api.store.is_file_used(&id).is_ok_and(|is_used| !is_used) {
            let _ = files::remove(api, &project, &id);
        }
    }
    for id in api.store.expired_uploads().unwrap_or_default() {
        let parts = api.store.parts(&id).unwrap_or_default();
        if api.store.end_upload(&id, "expired", None).is_ok_and(|ended| ended) {
            let _held = api.data.hold();
            for part in parts {
                if api.store.is_blob_used(&part.blob).is_ok_and(|is_used| !is_used) {
                    let _ = api.data.remove(&part.blob);
                }
            }
        }
    }
    let _ = api.store.prune_deliveries();
    if api.data.free_bytes().is_some_and(|free| free > api.limits.min_free) {
        let _ = api.data.keep_ballast();
    }
}
