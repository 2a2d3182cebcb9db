//! The API without a socket, for clients in the same process.

use crate::chain::{self, Caller};
use crate::server::{ApiServer, Server};
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;
use tricorn_meta::UserInfo;

/// The API as one user sees it, without a socket. Goes through the same chain as every other request.
#[derive(Clone)]
pub struct LocalService {
    server: Arc<Server>,
    user: Arc<UserInfo>,
    fence: Option<u64>,
}

impl ApiServer {
    /// The API for a client in this process that is `user`. With a fence, every write happens in that term of the leader or not at all.
    pub fn local_service(&self, user: UserInfo, fence: Option<u64>) -> LocalService {
        LocalService { server: self.server.clone(), user: Arc::new(user), fence }
    }
}

impl<B> Service<Request<B>> for LocalService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let caller = Caller::Local { user: self.user.clone(), fence: self.fence };
        let server = self.server.clone();
        Box::pin(async move { Ok(chain::handle(server, request.map(Body::new), caller).await) })
    }
}
