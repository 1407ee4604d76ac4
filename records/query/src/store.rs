//! Where records are: files, folders, and object storage.

use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use ringwarden_records::Error;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use url::{Position, Url};

/// How the names of records end that nobody names one by one.
const EXTENSION: &str = ".parquet";

/// The schemes of URLs, and what is to be known of each.
const SCHEMES: [(&str, &str); 5] = [
    (
        "s3",
        "credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role that this machine has; AWS_REGION is the \
         region, AWS_ENDPOINT_URL another server (without TLS with AWS_ALLOW_HTTP=true), and AWS_SKIP_SIGNATURE=true asks \
         without credentials",
    ),
    (
        "gs",
        "credentials are GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS, a file, or an account that this machine \
         has; GOOGLE_SKIP_SIGNATURE=true asks without",
    ),
    (
        "az",
        "the account is AZURE_STORAGE_ACCOUNT_NAME, credentials are AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or \
         an identity that this machine has; AZURE_SKIP_SIGNATURE=true asks without",
    ),
    ("http", HTTP),
    ("https", HTTP),
];
const HTTP: &str = "the server has to know HEAD and Range, and for more than one file WebDAV (PROPFIND)";

/// Where some records are.
pub(crate) struct Place {
    /// As people call it.
    name: String,
    store: ObjectStoreUrl,
    path: Path,
    kind: Kind,
}

enum Kind {
    Local(PathBuf),
    /// One, or those below it.
    Url(Url),
    /// Those that match.
    Glob(Url, Pattern),
}

impl Place {
    /// What a name means: a path, or a URL.
    ///
    /// # Errors
    /// It means nothing.
    pub(crate) fn of(name: &str) -> Result<Self, Error> {
        let wrong = |reason: &dyn Display| Error::new(name, Default::default(), reason);
        if !name.contains("://") {
            let path = std::fs::canonicalize(name).map_err(|error| wrong(&error))?;
            let kind = path.metadata().map_err(|error| wrong(&error))?.file_type();
            if !kind.is_file() && !kind.is_dir() {
                return Err(wrong(&"it is no file"));
            }
            let store = ObjectStoreUrl::local_filesystem();
            let inside = Path::from_absolute_path(&path).map_err(|error| wrong(&error))?;
            return Ok(Self { name: name.to_owned(), store, path: inside, kind: Kind::Local(path) });
        }
        let url = Url::parse(name).map_err(|error| wrong(&error))?;
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            // Not shown: it may be a secret.
            let shown = format!(
                "{}{}",
                &url[..Position::BeforeUsername],
                &url[Position::BeforeHost..Position::AfterPath]
            );
            let reason = "neither a user nor what follows a `?` or `#` can be a part of it; credentials come from the environment";
            return Err(Error::new(shown, Default::default(), reason));
        }
        if hint(&url).is_none() {
            return Err(wrong(&"URLs begin with s3://, gs://, az://, http:// or https://"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong(&"the bucket or the server is missing"));
        }
        let path = Path::from_url_path(url.path()).map_err(|error| wrong(&error))?;
        let store = ObjectStoreUrl::parse(&url[..Position::BeforePath]).map_err(|error| wrong(&error))?;
        let Some(glob) = path.as_ref().find(['*', '[']) else {
            return Ok(Self { name: name.to_owned(), store, path, kind: Kind::Url(url) });
        };
        let pattern = Pattern::new(path.as_ref()).map_err(|error| wrong(&error))?;
        let before = path.as_ref()[..glob].rsplit_once('/').map_or("", |(folder, _)| folder);
        let before = Path::parse(before).map_err(|error| wrong(&error))?;
        Ok(Self { name: name.to_owned(), store, path: before, kind: Kind::Glob(url, pattern) })
    }

    /// The store that it is in.
    pub(crate) fn store(&self) -> &ObjectStoreUrl {
        &self.store
    }

    /// Gets ready to ask the store. Asks nobody yet.
    ///
    /// # Errors
    /// Something that it takes is missing.
    pub(crate) fn open(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        match &self.kind {
            Kind::Local(_) => Ok(Arc::new(LocalFileSystem::new())),
            Kind::Url(url) | Kind::Glob(url, _) => remote(url, &self.name),
        }
    }

    /// The files that are there, each as people call it.
    ///
    /// # Errors
    /// There are none, or they cannot be asked for.
    pub(crate) async fn find(&self, store: &dyn ObjectStore) -> Result<Vec<(PathBuf, ObjectMeta)>, Error> {
        let explain = |error: object_store::Error| explain(&self.name, &error);
        let mut one = None;
        let whole = match &self.kind {
            Kind::Local(path) => path.is_file(),
            Kind::Url(url) => !url.path().ends_with('/'),
            Kind::Glob(..) => false,
        };
        if whole && !self.path.as_ref().is_empty() {
            match store.head(&self.path).await {
                Ok(file) => return Ok(vec![((&self.name).into(), file)]),
                // What other files begin with, perhaps.
                Err(error @ object_store::Error::NotFound { .. }) => one = Some(error),
                Err(error) => return Err(explain(error)),
            }
        }
        let listed = store.list(Some(&self.path)).try_collect::<Vec<_>>().await;
        let mut files = match (listed, one) {
            (Ok(files), None) => files,
            (Ok(files), Some(_)) if !files.is_empty() => files,
            // Some servers of HTTP list nothing.
            (Ok(_) | Err(_), Some(error)) => return Err(explain(error)),
            (Err(error), None) => return Err(explain(error)),
        };
        files.retain(|file| self.means(&file.location));
        if files.is_empty() {
            let reason = format!("no name of a record (*{EXTENSION}) is there");
            return Err(Error::new(&self.name, Default::default(), reason));
        }
        files.sort_by(|a, b| a.location.cmp(&b.location));
        let before =
            if matches!(self.kind, Kind::Local(_)) { "" } else { self.store.as_str().trim_end_matches('/') };
        let named = files.into_iter().map(|file| (format!("{before}/{}", file.location).into(), file));
        Ok(named.collect())
    }

    /// Whether a file that is there is meant.
    fn means(&self, file: &Path) -> bool {
        let slashes = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        match &self.kind {
            // Opening a pipe would wait for somebody.
            Kind::Local(_) => {
                file.as_ref().ends_with(EXTENSION) && std::path::Path::new("/").join(file.as_ref()).is_file()
            }
            Kind::Url(_) => file.as_ref().ends_with(EXTENSION),
            Kind::Glob(_, pattern) => pattern.matches_with(file.as_ref(), slashes),
        }
    }
}

/// What is to be known of stores with such a URL.
fn hint(url: &Url) -> Option<&'static str> {
    SCHEMES.into_iter().find(|(scheme, _)| *scheme == url.scheme()).map(|(_, hint)| hint)
}

/// Why a store has not answered as asked, for people.
pub(crate) fn explain(name: impl Into<PathBuf>, error: &object_store::Error) -> Error {
    let name = name.into();
    let hint = name.to_str().and_then(|name| hint(&Url::parse(name).ok()?));
    let hint = hint.map_or(String::new(), |hint| format!(" ({hint})"));
    let reason = match error {
        object_store::Error::NotFound { .. } => "there is no such file, or no such bucket".to_owned(),
        object_store::Error::Unauthenticated { .. } | object_store::Error::PermissionDenied { .. } => {
            format!("access is denied{hint}")
        }
        error => format!("{}{hint}", shown(&error.to_string())),
    };
    Error::new(name, Default::default(), reason)
}

/// What a server may have written, as one line that commands no terminal and has an end.
fn shown(text: &str) -> String {
    const MOST: usize = 400;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(MOST).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(feature = "object-storage")]
fn remote(url: &Url, name: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    use object_store::aws::AmazonS3Builder;
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::gcp::GoogleCloudStorageBuilder;
    use object_store::http::HttpBuilder;
    use object_store::{ClientOptions, RetryConfig};
    use std::time::Duration;

    // Who waits would rather know.
    let retry =
        RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() };
    let root = &url[..Position::BeforePath];
    let store: Result<Arc<dyn ObjectStore>, _> = match url.scheme() {
        "s3" => {
            let s3 = AmazonS3Builder::from_env().with_url(root).with_retry(retry).build();
            s3.map(|store| Arc::new(store) as _)
        }
        "gs" => {
            let gcs = GoogleCloudStorageBuilder::from_env().with_url(root).with_retry(retry).build();
            gcs.map(|store| Arc::new(store) as _)
        }
        "az" => {
            let azure = MicrosoftAzureBuilder::from_env().with_url(root).with_retry(retry).build();
            azure.map(|store| Arc::new(store) as _)
        }
        scheme => {
            let client = ClientOptions::new().with_allow_http(scheme == "http");
            let http =
                HttpBuilder::new().with_url(root).with_client_options(client).with_retry(retry).build();
            http.map(|store| Arc::new(store) as _)
        }
    };
    store.map_err(|error| explain(name, &error))
}

#[cfg(not(feature = "object-storage"))]
fn remote(_: &Url, name: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    Err(Error::new(name, Default::default(), "this program was built without the feature `object-storage`"))
}
