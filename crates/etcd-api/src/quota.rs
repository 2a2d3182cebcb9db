//! The Quota service: what etcd takes from its command line, while it runs.

use tonic::{Request, Response, Status};
use tricorn_proto::tricornpb::quota_server::Quota;
use tricorn_proto::tricornpb::{QuotaRequest, QuotaResponse};

use crate::error::status_of;
use crate::shared::Shared;

#[tonic::async_trait]
impl Quota for Shared {
    async fn quota(&self, request: Request<QuotaRequest>) -> Result<Response<QuotaResponse>, Status> {
        let store = self.admit(&request)?;
        let work = async {
            store.require_user().await?;
            if let Some(bytes) = request.get_ref().bytes {
                store.set_quota(bytes).await?;
            }
            let now = store.status();
            Ok(QuotaResponse { header: Some(self.store.header()), bytes: now.quota, used: now.db_size })
        };
        work.await.map(Response::new).map_err(|error: tricorn_store::Error| status_of(&error))
    }
}
