//! What kubectl says of the cluster as a whole, and what it does without asking a server.

use serde_json::Value;
use tricorn_e2e::run;

use crate::client::Kubectl;

pub async fn all(k: &Kubectl) {
    k.each(&[
        ("api-versions", &["apps/v1", "rbac.authorization.k8s.io/v1", " v1"]),
        ("api-resources", &["SHORTNAMES", "APIVERSION", "configmaps cm v1 true ConfigMap", "deployments deploy apps/v1 true Deployment"]),
        ("api-resources --namespaced=false -o name", &["nodes", "clusterroles.rbac.authorization.k8s.io", "!configmaps"]),
        ("api-resources --verbs=list,watch --namespaced -o name", &["configmaps", "!tokenreviews", "!nodes"]),
        ("api-resources --verbs=create -o name", &["tokenreviews.authentication.k8s.io"]),
        ("api-resources --api-group=apps --no-headers", &["statefulsets sts", "!NAME", "!configmaps"]),
        ("api-resources --sort-by=name -o wide", &["VERBS", "create,delete"]),
        ("cluster-info", &["is running at", "https://"]),
        ("version", &["v1.36", "tricorn"]),
        ("options", &["--as-group", "--kubeconfig", "--request-timeout"]),
        ("completion bash", &["__start_kubectl", "complete -o default"]),
        ("completion zsh", &["#compdef"]),
        ("get --help", &["Usage: kubectl get"]),
    ])
    .await;
    let version: Value = serde_json::from_str(&k.says("version -o json", &[]).await).unwrap();
    assert_eq!(
        (version["serverVersion"]["major"].as_str(), version["serverVersion"]["minor"].as_str()),
        (Some("1"), Some("36")),
        "{version}"
    );
    assert!(version["clientVersion"]["gitVersion"].is_string(), "{version}");
    if k.knows(21, "__complete of names") {
        k.says("create configmap completed", &["created"]).await;
        k.says("__complete get configmap compl", &["completed", ":4"]).await;
        k.says("__complete get configm", &["configmaps"]).await;
        k.says("delete configmap completed", &["deleted"]).await;
    }
    dump(k).await;
    config(k).await;
    plugins(k).await;
    k.each_fails(&[
        ("nonsense", &["unknown command \"nonsense\" for \"kubectl\""]),
        ("get pods --nonsense", &["unknown flag: --nonsense"]),
        ("get pods --request-timeout=soon", &["Invalid timeout value"]),
        ("--server=https://127.0.0.1:1 get pods", &["The connection to the server 127.0.0.1:1 was refused"]),
    ])
    .await;
}

async fn dump(k: &Kubectl) {
    k.says("cluster-info dump --output-directory={dir}/dump --namespaces={ns},kube-system", &["Cluster info dumped to"]).await;
    let nodes: Value = serde_json::from_str(&k.read("dump/nodes.json")).unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2, "{nodes}");
    for file in ["events", "services", "deployments", "pods"] {
        let name = format!("dump/{}/{file}.json", k.namespace());
        let list: Value = serde_json::from_str(&k.read(&name)).unwrap();
        assert!(list["kind"].as_str().unwrap().ends_with("List"), "{name}: {list}");
    }
}

/// On a file of its own: others use the usual one at the same time.
async fn config(k: &Kubectl) {
    // Debian's build of 1.20 ends in a segmentation fault where it writes maps.
    if !k.knows(21, "config set-credentials") {
        return;
    }
    let it = "config --kubeconfig={dir}/other";
    for (line, words) in [
        ("set-cluster far --server=https://far.example --insecure-skip-tls-verify", &["Cluster \"far\" set."][..]),
        ("set-credentials ann --username=ann --password=sesame", &["User \"ann\" set."]),
        ("set-context far --cluster=far --user=ann", &["Context \"far\" created."]),
        ("use-context far", &["Switched to context \"far\"."]),
        ("set-context --current --namespace=away", &["Context \"far\" modified."]),
        ("get-contexts", &["CURRENT NAME CLUSTER AUTHINFO NAMESPACE * far far ann away"]),
        ("current-context", &["far"]),
        ("rename-context far near", &["Context \"far\" renamed to \"near\"."]),
        ("set contexts.near.namespace home", &["Property \"contexts.near.namespace\" set."]),
        ("view", &["current-context: near", "namespace: home", "server: https://far.example", "!sesame"]),
        ("view --raw -o jsonpath={.users[0].user.password}", &["sesame"]),
        ("get-clusters", &["NAME far"]),
        ("unset contexts.near.namespace", &["unset"]),
        ("delete-context near", &["deleted context near"]),
        ("delete-cluster far", &["deleted cluster far"]),
    ] {
        k.says(&format!("{it} {line}"), words).await;
    }
    k.fails(&format!("{it} use-context nowhere"), &["no context exists with the name: \"nowhere\""]).await;
    k.says("config view --minify", &["namespace: {ns}", "server: https://127.0.0.1:"]).await;
}

async fn plugins(k: &Kubectl) {
    k.script("bin/kubectl-greet", "#!/bin/sh\necho \"hello $1 from a plugin\"\n");
    k.says("plugin list", &["{dir}/bin/kubectl-greet"]).await;
    k.is("greet ann", "hello ann from a plugin").await;
    // The words are the shell's own: completion is what it loads.
    k.file("completion.bash", &k.says("completion bash", &[]).await);
    run("bash", &["-n", k.path("completion.bash").to_str().unwrap()], &[]).await.ok();
}
