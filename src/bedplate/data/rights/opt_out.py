"""Which signals opt a document out of training."""

from __future__ import annotations

from collections.abc import Sequence, Set

from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.directives import says
from bedplate.data.rights.page_signals import PageSignals
from bedplate.data.rights.robots import refuses_training
from bedplate.data.rights.site_files import Site


def opt_outs(signals: PageSignals, sites: Sequence[Site], url: str | None, config: RightsConfig) -> list[str]:
    """The signals found, each as `kind` or `kind:what`, in a fixed order: "robots-meta:noai", "robots.txt:GPTBot".

    Of robots.txt the first agent that is forbidden the URL is named. Where a page, its header and its site differ on
    text and data mining, the one that reserves it counts: TDMRep has the page itself speak last, but nobody here can
    be asked which was meant.

    sites: what is known of the page's site, once or several times, as when it was fetched and since: each may opt out.
    """
    sites = sites if url else ()
    address = url or ""
    found: list[str] = []
    wanted = config.signals
    agents = _spoken_to(config.agents)
    directives = tuple(word.lower() for word in config.directives)
    for kind, said in (("robots-meta", signals.robots), ("x-robots-tag", signals.x_robots)):
        if kind in wanted:
            words = {word for agent, given in said.items() if agent in agents for word in given}
            found += [f"{kind}:{word}" for word in directives if says(words, word)]
    if "tdm-reservation" in wanted:
        reserved = signals.tdm_reservation or any(site.reserves(address) for site in sites)
        found += ["tdm-reservation"] if reserved else []
    robots = [site.robots for site in sites if site.robots is not None]
    if "content-usage" in wanted:
        refused = refuses_training(signals.content_usage) or any(
            one.training_refused(config.agents, address) for one in robots
        )
        found += ["content-usage"] if refused else []
    if "robots.txt" in wanted:
        found += _first(
            "robots.txt", config, {agent for one in robots for agent in one.forbidden(config.agents, address)}
        )
    if "ai.txt" in wanted:
        found += _first(
            "ai.txt", config, {agent for site in sites for agent in site.ai_forbidden(config.agents, address)}
        )
    return found


def _spoken_to(configured: Sequence[str]) -> set[str]:
    """The names under which the agents are spoken to. Google-Extended and Applebot-Extended fetch no page themselves:
    what is said to Googlebot and Applebot is said to them."""
    agents = {agent.lower() for agent in configured}
    crawlers = {"google-extended": "googlebot", "applebot-extended": "applebot"}
    return {"*", *agents, *(crawlers[agent] for agent in agents if agent in crawlers)}


def _first(kind: str, config: RightsConfig, forbidden: Set[str]) -> list[str]:
    return [f"{kind}:{agent}" for agent in config.agents if agent in forbidden][:1]
