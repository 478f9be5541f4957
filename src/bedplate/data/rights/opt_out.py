"""Which signals opt a document out of training."""

from __future__ import annotations

from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.page_signals import PageSignals
from bedplate.data.rights.robots import refuses_training
from bedplate.data.rights.site_files import Site


def opt_outs(signals: PageSignals, site: Site | None, url: str | None, config: RightsConfig) -> list[str]:
    """The signals found, each as `kind` or `kind:what`, in a fixed order: "robots-meta:noai", "robots.txt:GPTBot".

    Of robots.txt the first agent that is forbidden the URL is named. TDMRep's order holds: the page's <meta> or header
    (already resolved in `signals`) over tdmrep.json.
    """
    found: list[str] = []
    wanted = config.signals
    agents = {"*", *(agent.lower() for agent in config.agents)}
    directives = tuple(word.lower() for word in config.directives)
    for kind, said in (("robots-meta", signals.robots), ("x-robots-tag", signals.x_robots)):
        if kind in wanted:
            words = {word for agent, given in said.items() if agent in agents for word in given}
            found += [f"{kind}:{word}" for word in directives if word in words]
    if "tdm-reservation" in wanted:
        reserved = signals.tdm_reservation
        if reserved is None and site is not None and url:
            reserved = site.reserves(url)
        found += ["tdm-reservation"] if reserved else []
    robots = site.robots if site is not None and url else None
    if "content-usage" in wanted:
        refused = refuses_training(signals.content_usage)
        if not refused and robots is not None and url:
            refused = robots.training_refused(config.agents, url)
        found += ["content-usage"] if refused else []
    if "robots.txt" in wanted and robots is not None and url:
        found += [f"robots.txt:{agent}" for agent in robots.forbidden(config.agents, url)[:1]]
    if "ai.txt" in wanted and site is not None and url:
        found += [f"ai.txt:{agent}" for agent in site.ai_forbidden(config.agents, url)[:1]]
    return found
