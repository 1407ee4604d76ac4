//! [`records()`]: the table of records wherever they are, of which nothing is read that has not been checked.
//!
//! DataFusion asks for the footer and for columns of row groups, and gets them from here: with the checks that
//! [`Footer`] has, on the very bytes that are decoded.

use crate::store::{self, Place};
use crate::table::{plain, with_context};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::union::UnionExec;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use ringwarden_records::{Error, Footer};
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OnceCell;

/// So much of the end of a file is read first: a footer of some row groups.
const END: u64 = 64 << 10;
/// Of so many files at once.
const AT_ONCE: usize = 16;

/// Records, with `context` beside their columns: files, folders, and URLs of object storage. Gives how many requests they lack,
/// too: those that came too fast to be recorded.
///
/// `read` counts the bytes that have been read, from now on and as long as questions are asked.
///
/// # Errors
/// One of them is not there, or cannot be asked for.
pub async fn records(
    session: &SessionContext,
    names: &[String],
    read: &Arc<AtomicU64>,
) -> Result<(DataFrame, u64)> {
    let told = |error: Error| DataFusionError::External(Box::new(error));
    let mut stores: Vec<Held> = Vec::new();
    for name in names {
        let place = Place::of(name).map_err(told)?;
        let known = stores.iter().position(|held| held.url == *place.store());
        let mut held = match known {
            Some(known) => stores.swap_remove(known),
            None => {
                let store = place.open().map_err(told)?;
                session.register_object_store(place.store().as_ref(), Arc::clone(&store));
                let url = place.store().clone();
                Held { url, store, files: Vec::new(), known: HashMap::new(), read: Arc::clone(read) }
            }
        };
        for (name, file) in place.find(&*held.store).await.map_err(told)? {
            let known = Known { name, footer: OnceCell::new() };
            // Whoever is meant by several names is there once.
            if held.known.insert(file.location.clone(), known).is_none() {
                held.files.push(file);
            }
        }
        stores.push(held);
    }
    let stores: Vec<_> = stores.into_iter().map(Arc::new).collect();
    // Whatever is asked, and all of them.
    let readers = stores
        .iter()
        .flat_map(|held| held.files.iter().map(|file| Reader { held: Arc::clone(held), file: file.clone() }));
    let footers = stream::iter(readers.collect::<Vec<_>>())
        .map(|reader| async move { reader.footer().await.map(|footer| footer.metadata().lost) })
        .buffer_unordered(AT_ONCE);
    let lost = footers.try_fold(0u64, |all, lost| async move { Ok(all.saturating_add(lost)) }).await?;
    let table = Records { schema: Arc::new(plain()), stores };
    Ok((with_context(session.read_table(Arc::new(table))?)?, lost))
}

#[derive(Debug)]
struct Records {
    schema: SchemaRef,
    stores: Vec<Arc<Held>>,
}

/// Records of one store.
#[derive(Debug)]
struct Held {
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
    files: Vec<ObjectMeta>,
    known: HashMap<Path, Known>,
    read: Arc<AtomicU64>,
}

/// What is known of a record.
#[derive(Debug)]
struct Known {
    /// What people call it.
    name: PathBuf,
    footer: OnceCell<Footer>,
}

#[async_trait]
impl TableProvider for Records {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let threads = session.config().target_partitions();
        let scan = |held: &Arc<Held>| {
            // Neither the index of pages nor the filters that may be in a file are checked, and records have none.
            let source = ParquetSource::new(Arc::clone(&self.schema))
                .with_parquet_file_reader_factory(Arc::new(Factory(Arc::clone(held))))
                .with_enable_page_index(false)
                .with_bloom_filter_on_read(false);
            let files = held.files.iter().cloned().map(PartitionedFile::from).collect();
            let scan = FileScanConfigBuilder::new(held.url.clone(), Arc::new(source))
                .with_file_groups(FileGroup::new(files).split_files(threads))
                .with_projection_indices(projection.cloned())?
                .with_limit(limit)
                .build();
            Ok(DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>)
        };
        let mut scans = self.stores.iter().map(scan).collect::<Result<Vec<_>>>()?;
        if scans.len() == 1 { Ok(scans.remove(0)) } else { UnionExec::try_new(scans) }
    }
}

#[derive(Debug)]
struct Factory(Arc<Held>);

impl ParquetFileReaderFactory for Factory {
    fn create_reader(
        &self,
        _: usize,
        file: PartitionedFile,
        _: Option<usize>,
        _: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        Ok(Box::new(Reader { held: Arc::clone(&self.0), file: file.object_meta }))
    }
}

/// Who reads one record.
struct Reader {
    held: Arc<Held>,
    file: ObjectMeta,
}

impl Reader {
    fn known(&self) -> Result<&Known, ParquetError> {
        let known = self.held.known.get(&self.file.location);
        known.ok_or_else(|| ParquetError::General(format!("nobody asked for {}", self.file.location)))
    }

    /// Bytes of the file: those, and not some of them.
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ParquetError> {
        let name = &self.known()?.name;
        let parts = self.held.store.get_ranges(&self.file.location, ranges).await;
        let parts = parts.map_err(|error| told(store::explain(name, &error)))?;
        let is_whole = |(range, bytes): (&Range<u64>, &Bytes)| range.end - range.start == bytes.len() as u64;
        if parts.len() != ranges.len() || !ranges.iter().zip(&parts).all(is_whole) {
            return Err(told(Error::new(name, Default::default(), "it is shorter than it was")));
        }
        let bytes = parts.iter().map(|bytes| bytes.len() as u64).sum();
        self.held.read.fetch_add(bytes, Ordering::Relaxed);
        Ok(parts)
    }

    async fn read_one(&self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        Ok(self.read(std::slice::from_ref(&range)).await?.pop().unwrap_or_default())
    }

    async fn footer(&self) -> Result<&Footer, ParquetError> {
        let known = self.known()?;
        known.footer.get_or_try_init(|| self.read_footer(known)).await
    }

    async fn read_footer(&self, known: &Known) -> Result<Footer, ParquetError> {
        let (name, length) = (&known.name, self.file.size);
        let short = || told(Error::new(name, Default::default(), "it is too short for a Parquet file"));
        let tail = length.checked_sub(Footer::TAIL as u64).ok_or_else(short)?;
        let from = length.saturating_sub(END);
        let end = self.read_one(from..length).await?;
        let last = end.last_chunk().ok_or_else(short)?;
        let begin = Footer::begin(name, *last, length).map_err(told)?;
        let bytes = if begin >= from {
            end.slice((begin - from) as usize..(tail - from) as usize)
        } else {
            self.read_one(begin..tail).await?
        };
        Footer::parse(name, &bytes, begin).map_err(told)
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let parts = self.get_byte_ranges(vec![range]);
        async move { Ok(parts.await?.pop().unwrap_or_default()) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let footer = self.footer().await?;
            let parts = self.read(&ranges).await?;
            for (range, bytes) in ranges.iter().zip(&parts) {
                footer.check_column(range.start, bytes).map_err(told)?;
            }
            Ok(parts)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move { Ok(Arc::clone(self.footer().await?.parquet())) }.boxed()
    }
}

fn told(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
