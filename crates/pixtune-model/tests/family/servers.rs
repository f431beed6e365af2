//! What servers do with adapters of models that merge patches.

use std::path::Path;

use pixtune_files::Existing;
use pixtune_model::adapter::check::{CheckReport, Server, ServerOptions, Verdict, VllmVersion, check};
use pixtune_model::adapter::{Adapter, Area, Conversion, Dialect};
use pixtune_model::weights::{Checkpoint, Format};

use super::own;

const TOWER: ServerOptions = ServerOptions { vllm: VllmVersion::V033, tower_connector: true, max_rank: 16 };
const PLAIN: ServerOptions = ServerOptions { tower_connector: false, ..TOWER };

fn ask(fixture: &str, adapter: &Path, server: Server, options: ServerOptions) -> CheckReport {
    let base = if server.format() == Format::Hf { "hf_bf16" } else { "native_bf16" };
    let base = Checkpoint::open(&own(fixture).join(base)).unwrap();
    check(&Adapter::open(adapter, None).unwrap(), &base, server, options).unwrap()
}

/// The verdict of every area, in the order of areas.
fn fates(report: &CheckReport) -> Vec<(Area, Verdict)> {
    let mut fates: Vec<(Area, Verdict)> =
        report.modules.iter().map(|module| (module.area, module.verdict)).collect();
    fates.sort();
    fates.dedup();
    fates
}

#[test]
fn adapters_of_the_text_decoder() {
    use Verdict::{Applied, Rejected, Wrong};
    let place = tempfile::tempdir().unwrap();
    let written = |fixture: &str, to: Dialect| {
        let target = place.path().join(format!("{fixture}-{to}"));
        let base = Checkpoint::open(&own(fixture).join("native_bf16")).unwrap();
        let adapter = Adapter::open(&own(fixture).join("lora_text"), None).unwrap();
        let conversion = Conversion::new(&adapter, &base, to, &target, None, Existing::Keep);
        conversion.unwrap().run().unwrap();
        target
    };
    let models = ["tiny_mistral3", "tiny_ministral3", "tiny_ministral3_tied"];
    let adapters = models.map(|model| {
        [Dialect::Peft, Dialect::PeftLegacy, Dialect::Mistral].map(|dialect| written(model, dialect))
    });
    let same = |verdict| [verdict; 3];
    for (dialect, server, verdicts) in [
        (0, Server::Transformers, same(Applied)),
        (0, Server::Transformers457, [Applied, Rejected, Rejected]),
        (0, Server::TransformersLegacy, same(Rejected)),
        (0, Server::VllmHf, same(Applied)),
        (0, Server::VllmMistral, same(Applied)),
        (1, Server::Transformers, same(Applied)),
        (1, Server::Transformers457, [Applied, Rejected, Rejected]),
        (1, Server::VllmHf, same(Applied)),
        (2, Server::VllmHf, same(Rejected)),
        (2, Server::MistralInference, [Applied, Wrong, Rejected]),
    ] {
        for ((model, adapters), verdict) in models.iter().zip(&adapters).zip(verdicts) {
            let report = ask(model, &adapters[dialect], server, PLAIN);
            assert_eq!(fates(&report), [(Area::Text, verdict)], "{model} on {}", server.as_str());
        }
    }
}

#[test]
fn the_patch_merger_keeps_vllm_from_loading_an_adapter() {
    let adapter = own("tiny_mistral3").join("lora_all");
    let all = [Area::Text, Area::Projector, Area::Vision];
    for (server, verdict) in [
        (Server::VllmHf, Verdict::Rejected),
        (Server::VllmMistral, Verdict::NotTested),
        (Server::Transformers, Verdict::Applied),
        (Server::Transformers457, Verdict::Applied),
    ] {
        let report = ask("tiny_mistral3", &adapter, server, TOWER);
        let mut wanted = all.map(|area| (area, verdict));
        wanted.sort();
        assert_eq!(fates(&report), wanted, "{}", server.as_str());
        assert!(report.modules.iter().all(|module| verdict == Verdict::Applied || !module.reason.is_empty()));
    }
}
