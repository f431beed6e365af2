//! What servers do with the fixture's adapters.

use pixtune_model::adapter::check::{
    CheckReport, Server, ServerOptions, Verdict, VllmVersion, check, groups,
};
use pixtune_model::adapter::{Adapter, Area, Dialect};
use pixtune_model::weights::Checkpoint;

use super::harness::Place;
use super::support::{Copy, fixture};

const TOWER: ServerOptions = ServerOptions { vllm: VllmVersion::V033, tower_connector: true, max_rank: 16 };

fn open(dialect: Dialect) -> (Place, Adapter) {
    let place = Place::new();
    place.convert(&fixture("lora_all"), dialect, "adapter", None).unwrap();
    let adapter = Adapter::open(&place.path("adapter"), None).unwrap();
    (place, adapter)
}

fn ask(adapter: &Adapter, server: Server, options: ServerOptions) -> CheckReport {
    let base = if server.format() == pixtune_model::weights::Format::Hf { "hf_bf16" } else { "native_bf16" };
    check(adapter, &Checkpoint::open(&fixture(base)).unwrap(), server, options).unwrap()
}

/// Verdicts by area, as `text applied 21, vision wrong 4`.
fn fates(report: &CheckReport) -> String {
    let mut fates: std::collections::BTreeMap<(Area, Verdict), usize> = Default::default();
    for module in &report.modules {
        *fates.entry((module.area, module.verdict)).or_default() += 1;
        assert_eq!(module.reason.is_empty(), module.verdict == Verdict::Applied, "{module:?}");
    }
    let fates: Vec<String> = fates
        .iter()
        .map(|((area, verdict), count)| format!("{} {} {count}", area.as_str(), verdict.as_str()))
        .collect();
    fates.join(", ")
}

#[test]
fn each_server_takes_what_it_takes() {
    let all = "text applied 21, projector applied 2, vision applied 14";
    let text_only = "text applied 21, projector ignored 2, vision ignored 14";
    let none = "text ignored 21, projector ignored 2, vision ignored 14";
    let refused = "text rejected 21, projector rejected 2, vision rejected 14";
    let rows_wrong = "text applied 21, projector applied 2, vision applied 10, vision wrong 4";
    use Dialect::{Mistral, Peft, PeftLegacy, VllmConsolidated};
    let plain = ServerOptions::default();
    for (dialect, server, options, fate) in [
        (Peft, Server::Transformers, plain, all),
        (Peft, Server::Transformers457, plain, all),
        (Peft, Server::TransformersLegacy, plain, none),
        (PeftLegacy, Server::Transformers, plain, text_only),
        (PeftLegacy, Server::Transformers457, plain, all),
        (PeftLegacy, Server::TransformersLegacy, plain, all),
        (Mistral, Server::Transformers, plain, refused),
        (VllmConsolidated, Server::Transformers, plain, rows_wrong),
        (Peft, Server::VllmHf, plain, text_only),
        (Peft, Server::VllmHf, TOWER, all),
        (PeftLegacy, Server::VllmHf, TOWER, all),
        (Mistral, Server::VllmHf, TOWER, refused),
        (VllmConsolidated, Server::VllmHf, TOWER, rows_wrong),
        (Peft, Server::VllmMistral, plain, text_only),
        (Peft, Server::VllmMistral, TOWER, rows_wrong),
        (PeftLegacy, Server::VllmMistral, TOWER, text_only),
        (VllmConsolidated, Server::VllmMistral, TOWER, all),
        (Mistral, Server::VllmMistral, TOWER, refused),
        (Mistral, Server::MistralInference, plain, text_only),
        (Peft, Server::MistralInference, plain, refused),
        (Peft, Server::LlamaCpp, plain, text_only),
        (Mistral, Server::LlamaCpp, plain, text_only),
    ] {
        let (_place, adapter) = open(dialect);
        let report = ask(&adapter, server, options);
        assert_eq!(fates(&report), fate, "{dialect} on {} with {options:?}", server.as_str());
        assert_eq!(report.all_applied(), fate == all);
    }
}

#[test]
fn mistral_inference_multiplies_with_two() {
    let adapter = Adapter::open(&fixture("native_lora_all"), None).unwrap();
    let report = ask(&adapter, Server::MistralInference, ServerOptions::default());
    assert_eq!(
        fates(&report),
        "text rejected 21, projector rejected 2, vision rejected 14",
        "f32 for a bf16 base"
    );
    let place = Place::new();
    place.convert(&fixture("lora_text_proj"), Dialect::Mistral, "adapter", None).unwrap();
    let params = std::fs::read_to_string(place.path("adapter/params.json")).unwrap();
    std::fs::write(place.path("adapter/params.json"), params.replace("\"scaling\": 2.0", "\"scaling\": 1.5"))
        .unwrap();
    let adapter = Adapter::open(&place.path("adapter"), None).unwrap();
    let report = ask(&adapter, Server::MistralInference, ServerOptions::default());
    assert_eq!(fates(&report), "text wrong 21, projector ignored 2");
    assert!(
        report.warnings.iter().any(|warning| warning.contains("two or more images")),
        "{:?}",
        report.warnings
    );
}

#[test]
fn vllm_refuses_whole_adapters() {
    let refused = |from: &str, to: &str, reason: &str| {
        let adapter = Copy::of("lora_all");
        adapter.edit("adapter_config.json", from, to);
        let adapter = Adapter::open(adapter.directory.path(), None).unwrap();
        let report = ask(&adapter, Server::VllmHf, TOWER);
        assert_eq!(report.count(Verdict::Rejected), 37);
        assert!(report.modules[0].reason.contains(reason), "{}", report.modules[0].reason);
    };
    refused("\"use_dora\": false", "\"use_dora\": true", "vLLM refuses DoRA");
    refused("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "the initialization pissa");
    refused("\"bias\": \"none\"", "\"bias\": \"all\"", "trained biases");
    refused("\"lora_bias\": false", "\"lora_bias\": true", "lora_bias");
    let adapter = Adapter::open(&fixture("lora_all"), None).unwrap();
    let report = ask(&adapter, Server::VllmHf, ServerOptions { max_rank: 2, ..TOWER });
    assert_eq!(
        report.modules[0].reason,
        "rank 4 is above --max-lora-rank 2: start vLLM with --max-lora-rank 8"
    );
}

#[test]
fn target_modules_of_another_version_match_nothing() {
    let adapter = Copy::of("lora_all");
    let text = std::fs::read_to_string(adapter.path("adapter_config.json")).unwrap();
    let start = text.find("\"target_modules\"").unwrap();
    let end = start + text[start..].find(']').unwrap() + 1;
    let rewrite = |targets: &str| {
        let text = format!("{}\"target_modules\": {targets}{}", &text[..start], &text[end..]);
        std::fs::write(adapter.path("adapter_config.json"), text).unwrap();
        ask(
            &Adapter::open(adapter.directory.path(), None).unwrap(),
            Server::Transformers,
            ServerOptions::default(),
        )
    };
    let report = rewrite("\"language_model\\\\.model\\\\..*q_proj\"");
    assert_eq!(report.count(Verdict::Rejected), 37);
    let report = rewrite("[\"self_attn.q_proj\"]");
    assert_eq!(fates(&report), "text applied 3, text ignored 18, projector ignored 2, vision ignored 14");
}

#[test]
fn modules_of_another_base_are_named() {
    let adapter = Copy::of("lora_all");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        if stored.spec.name.ends_with("layers.1.mlp.up_proj.lora_A.weight") {
            stored.spec.shape = vec![4, 96];
            stored.bytes = vec![0; 4 * 96 * 4];
        }
        vec![stored]
    });
    let adapter = Adapter::open(adapter.directory.path(), None).unwrap();
    let report = ask(&adapter, Server::Transformers, ServerOptions::default());
    assert_eq!(report.count(Verdict::Rejected), 37, "one that does not fit keeps all from loading");
    let misfit = report.modules.iter().find(|module| module.path.ends_with("layers.1.mlp.up_proj")).unwrap();
    assert_eq!(
        misfit.reason,
        "`model.language_model.layers.1.mlp.up_proj` has lora_A of [4, 96] and lora_B of [96, 4]; the base's weight is \
         [96, 64]"
    );
}

#[test]
fn modules_that_fare_alike_are_put_together() {
    let (_place, adapter) = open(Dialect::Peft);
    let report = ask(&adapter, Server::VllmMistral, TOWER);
    let groups: Vec<String> = groups(&report.modules)
        .iter()
        .map(|group| format!("{} {} {}", group.verdict.as_str(), group.path, group.count))
        .collect();
    assert_eq!(groups.len(), 7 + 7 + 2);
    assert_eq!(groups[0], "applied model.language_model.layers.0-2.self_attn.q_proj 3");
    assert!(
        groups.contains(&"wrong model.vision_tower.transformer.layers.0-1.attention.k_proj 2".to_owned()),
        "{groups:?}"
    );
}
