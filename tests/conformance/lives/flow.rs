//! Who would wait where: what every cluster begins with.

use serde_json::json;

use super::create;
use crate::api::{Api, TABLE};
use crate::case::Case;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
/// Each schema, with its level, precedence and what tells its flows apart.
const BEGUN: [(&str, &str, &str, &str); 13] = [
    ("catch-all", "catch-all", "10000", "ByUser"),
    ("endpoint-controller", "workload-high", "150", "ByUser"),
    ("exempt", "exempt", "1", "<none>"),
    ("global-default", "global-default", "9900", "ByUser"),
    ("kube-controller-manager", "workload-high", "800", "ByNamespace"),
    ("kube-scheduler", "workload-high", "800", "ByNamespace"),
    ("kube-system-service-accounts", "workload-high", "900", "ByNamespace"),
    ("probes", "exempt", "2", "<none>"),
    ("service-accounts", "workload-low", "9000", "ByUser"),
    ("system-leader-election", "leader-election", "100", "ByUser"),
    ("system-node-high", "node-high", "400", "ByUser"),
    ("system-nodes", "system", "500", "ByUser"),
    ("workload-leader-election", "leader-election", "200", "ByUser"),
];

pub async fn life(api: &Api, case: &Case) {
    case.soon("all schemas are there, and so are their levels", async || {
        let table = api.get_as(SCHEMAS, TABLE).await;
        let rows: Vec<_> = table.body["rows"].as_array().into_iter().flatten().map(|row| row["cells"].clone()).collect();
        let missing = BEGUN.iter().find(|(name, level, precedence, method)| {
            let is_it = |cells: &&serde_json::Value| cells[0] == *name;
            !rows.iter().find(is_it).is_some_and(|cells| {
                let told = |at: usize| cells[at].as_str().map_or_else(|| cells[at].to_string(), str::to_owned);
                (told(1).as_str(), told(2).as_str(), told(3).as_str(), told(5).as_str()) == (*level, *precedence, *method, "False")
            })
        });
        missing.map_or(Ok(()), |missing| Err((*missing, rows.clone())))
    })
    .await;
    let exempt = api.get(&format!("{LEVELS}/exempt")).await;
    case.equal("a level", &exempt.body["spec"]["exempt"], &json!({"nominalConcurrencyShares": 0, "lendablePercent": 0}));
    case.equal("it follows the server", exempt.text("/metadata/annotations/apf.kubernetes.io~1autoupdate-spec"), "true");

    let spec = json!({"matchingPrecedence": 5000, "priorityLevelConfiguration": {"name": "life-unheard-of"}});
    create(api, case, SCHEMAS, &json!({"metadata": {"name": "life-dangling"}, "spec": spec})).await;
    let one = format!("{SCHEMAS}/life-dangling");
    let dangles = async |what: &str, expected: &str| {
        case.soon(what, async || {
            let now = api.get(&one).await.body["status"].clone();
            let found = now["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Dangling");
            if found.is_some_and(|found| found["status"] == expected) { Ok(()) } else { Err(now) }
        })
        .await;
    };
    dangles("a schema without its level", "True").await;
    let level = json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}});
    create(api, case, LEVELS, &json!({"metadata": {"name": "life-unheard-of"}, "spec": level})).await;
    dangles("its level comes", "False").await;
    api.delete(&format!("{LEVELS}/life-unheard-of")).await;
    dangles("its level goes", "True").await;
    api.delete(&one).await;
}
