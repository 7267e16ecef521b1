/** The tags of the cluster and of each kind of object that has some, read from the configuration. */
import type { ConfigView, TagKind } from "@gannet/objects";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam } from "../handlers.ts";
import { notFound } from "../refusals.ts";

interface Tagged {
  readonly tags: readonly string[];
}

const FINDERS: Readonly<Record<TagKind, (view: ConfigView, name: string) => Tagged | undefined>> = {
  cluster: (view) => view.cluster,
  node: (view, name) => view.findNode(name),
  nodegroup: (view, name) => view.findGroup(name),
  network: (view, name) => view.findNetwork(name),
  instance: (view, name) => view.findInstance(name),
};

export function tagHandlers({ configStore }: DirectContext): Handlers {
  return {
    getTags: (request) => {
      const kind = request.params.kind as TagKind;
      const found = FINDERS[kind](configStore.view, pathParam(request, "name"));
      if (found === undefined) throw notFound();
      return jsonAnswer(found.tags.toSorted());
    },
  };
}
