//! Transactions: every comparison of the whole tree is decided first, then the chosen operations run in order.

use crate::read::{Reader, header};
use crate::record::Record;
use crate::span::Span;
use crate::write::Writer;
use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::response_op::Response;
use tricorn_proto::etcdserverpb::{Compare, RequestOp, ResponseOp, TxnRequest, TxnResponse};

/// The outcome of each transaction of the tree, in the order in which they run.
type Path = VecDeque<bool>;

/// The revision in the header of a transaction within another: etcd leaves it at zero, and only the outermost one tells it.
const NESTED: i64 = 0;

fn chosen(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

impl Reader<'_> {
    fn decide(&self, request: &TxnRequest, path: &mut Path) -> Result<()> {
        let mut holds = true;
        for compare in &request.compare {
            holds = holds && self.holds(compare)?;
        }
        path.push_back(holds);
        for op in chosen(request, holds) {
            if let Some(Request::RequestTxn(inner)) = &op.request {
                self.decide(inner, path)?;
            }
        }
        Ok(())
    }

    fn holds(&self, compare: &Compare) -> Result<bool> {
        let mut all = true;
        let mut any = false;
        self.visit(Span::new(&compare.key, &compare.range_end), self.revision, &mut |_, record| {
            any = true;
            all = matches(compare, Some(&record));
            Ok(if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(if any { all } else { matches(compare, None) })
    }

    /// Refuses, before anything is written, what would fail half way.
    fn check_path(&self, request: &TxnRequest, path: &mut Path) -> Result<()> {
        let succeeded = path.pop_front().unwrap_or(false);
        for op in chosen(request, succeeded) {
            match &op.request {
                Some(Request::RequestRange(range)) => {
                    self.resolve(range.revision)?;
                }
                Some(Request::RequestPut(put)) => {
                    if (put.ignore_value || put.ignore_lease) && self.current(&put.key)?.is_none() {
                        return Err(Error::KeyNotFound);
                    }
                    if put.lease != 0 && self.lease(put.lease)?.is_none() {
                        return Err(Error::LeaseNotFound);
                    }
                }
                Some(Request::RequestTxn(inner)) => self.check_path(inner, path)?,
                Some(Request::RequestDeleteRange(_)) | None => {}
            }
        }
        Ok(())
    }

    /// A transaction that only reads. One that writes is refused.
    pub fn txn(&self, request: &TxnRequest) -> Result<TxnResponse> {
        let mut path = Path::new();
        self.decide(request, &mut path)?;
        self.check_path(request, &mut path.clone())?;
        let mut response = self.run(request, &mut path)?;
        response.header = header(self.revision);
        Ok(response)
    }

    fn run(&self, request: &TxnRequest, path: &mut Path) -> Result<TxnResponse> {
        let succeeded = path.pop_front().unwrap_or(false);
        let mut responses = Vec::new();
        for op in chosen(request, succeeded) {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => Response::ResponseRange(self.range(range)?),
                Some(Request::RequestTxn(inner)) => Response::ResponseTxn(self.run(inner, path)?),
                _ => return Err(Error::State("a transaction that writes was given to a reader".into())),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        Ok(TxnResponse { header: header(NESTED), succeeded, responses })
    }
}

impl Writer<'_, '_> {
    pub fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse> {
        let mut path = Path::new();
        let reader = self.reader();
        reader.decide(request, &mut path)?;
        reader.check_path(request, &mut path.clone())?;
        let mut response = self.run(request, &mut path)?;
        response.header = header(self.revision());
        Ok(response)
    }

    fn run(&mut self, request: &TxnRequest, path: &mut Path) -> Result<TxnResponse> {
        let succeeded = path.pop_front().unwrap_or(false);
        let mut responses = Vec::new();
        for op in chosen(request, succeeded) {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => Response::ResponseRange(self.reader().range(range)?),
                Some(Request::RequestPut(put)) => Response::ResponsePut(self.put(put)?),
                Some(Request::RequestDeleteRange(delete)) => Response::ResponseDeleteRange(self.delete_range(delete)?),
                Some(Request::RequestTxn(inner)) => Response::ResponseTxn(self.run(inner, path)?),
                None => return Err(Error::KeyNotFound),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        Ok(TxnResponse { header: header(NESTED), succeeded, responses })
    }
}

/// A missing key counts as zero, except for its value, of which nothing is true.
fn matches(compare: &Compare, record: Option<&Record<'_>>) -> bool {
    let number = |have: Option<i64>, want: i64| have.unwrap_or(0).cmp(&want);
    let target = CompareTarget::try_from(compare.target).unwrap_or(CompareTarget::Version);
    let order = match (target, &compare.target_union) {
        (CompareTarget::Value, union) => {
            let Some(record) = record else { return false };
            let want: &[u8] = match union {
                Some(TargetUnion::Value(want)) => want,
                _ => &[],
            };
            record.value.cmp(want)
        }
        (CompareTarget::Version, Some(TargetUnion::Version(want))) => number(record.map(|it| it.version), *want),
        (CompareTarget::Version, _) => number(record.map(|it| it.version), 0),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(want))) => number(record.map(|it| it.create), *want),
        (CompareTarget::Create, _) => number(record.map(|it| it.create), 0),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(want))) => number(record.map(|it| it.modified.main), *want),
        (CompareTarget::Mod, _) => number(record.map(|it| it.modified.main), 0),
        (CompareTarget::Lease, Some(TargetUnion::Lease(want))) => number(record.map(|it| it.lease), *want),
        (CompareTarget::Lease, _) => number(record.map(|it| it.lease), 0),
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order == Ordering::Equal,
        Ok(CompareResult::NotEqual) => order != Ordering::Equal,
        Ok(CompareResult::Greater) => order == Ordering::Greater,
        Ok(CompareResult::Less) => order == Ordering::Less,
        Err(_) => true,
    }
}
